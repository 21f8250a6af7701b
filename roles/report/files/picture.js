"use strict";
// Copyright (c) 2026, the faultline.selfheal maintainers
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// The timeline as a picture: a lane for each service of each host, its incidents as bars, what happened beside them as diamonds.
// Seconds count from the begin of the period; `view` is what is shown of them. It draws what it is told and knows nothing of the page.
const AXIS = 26, MOST_LANES = 14, TICKS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600,
  2592000, 7776000, 31536000];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const two = (number) => String(number).padStart(2, "0");

class Picture {
  constructor(canvas, overview, data) {
    this.canvas = canvas;
    this.overview = overview;
    this.data = data;
    this.view = { from: 0, to: data.span, top: 0 };
    this.lanes = [];
    this.chosen = null;
    this.lane = -1;
    this.colors();
  }

  // Which lanes, in their order, and which incidents and marks of them, each list in the order of time.
  show(lanes, incidents, marks) {
    this.lanes = lanes;
    this.place = new Map(lanes.map((lane, row) => [lane, row]));
    this.byLane = new Map(lanes.map((lane) => [lane, { incidents: [], marks: [] }]));
    for (const one of incidents) this.byLane.get(one.lane).incidents.push(one);
    for (const one of marks) this.byLane.get(one.lane).marks.push(one);
    this.view.top = 0;
    this.lane = -1;
    this.widest = this.measure(lanes.slice(0, 400));
    this.sums = new Array(this.data.buckets).fill(0);
    for (const lane of lanes) this.data.lanes[lane].counts.forEach((count, bucket) => { this.sums[bucket] += count; });
    this.draw();
  }

  colors() {
    const style = getComputedStyle(document.documentElement);
    this.color = {};
    for (const name of ["ground", "panel", "line", "text", "quiet", "link", "recovered", "paged", "open", "closed", "mark", "dense", "row"]) {
      this.color[name] = style.getPropertyValue("--" + name).trim();
    }
  }

  // -- where things are

  get narrow() { return this.canvas.clientWidth < 620; }
  get names() { return this.narrow ? 0 : Math.min(this.widest, Math.round(this.canvas.clientWidth * .3)); }
  get height() { return this.narrow ? 42 : 28; }
  get rows() { return Math.max(1, Math.min(MOST_LANES, this.lanes.length)); }
  x(at) { return this.names + (at - this.view.from) / (this.view.to - this.view.from) * (this.canvas.clientWidth - this.names); }
  at(x) { return this.view.from + (x - this.names) / (this.canvas.clientWidth - this.names) * (this.view.to - this.view.from); }
  // A host whose clock is ahead tells of times to come: they are drawn at the end of the period.
  begin(one) { return Math.min(one.failed, this.data.span); }
  end(one) { return one.ended === null ? this.data.span : Math.min(one.ended, this.data.span); }
  seen(one) { return this.end(one) >= this.view.from && this.begin(one) <= this.view.to; }

  // The room that names want.
  measure(lanes) {
    const pen = this.canvas.getContext("2d");
    pen.font = "600 12.5px system-ui, sans-serif";
    return 48 + Math.max(90, ...lanes.map((lane) => pen.measureText(this.data.lanes[lane].service + this.data.lanes[lane].host).width));
  }

  // -- moving

  move(from, to) {
    const span = Math.min(this.data.span, Math.max(.5, to - from));
    this.view.from = Math.max(0, Math.min(from, this.data.span - span));
    this.view.to = this.view.from + span;
    this.draw();
  }

  zoom(factor, x) {
    const span = this.view.to - this.view.from;
    const share = x === undefined ? .5 : Math.max(0, Math.min(1, (x - this.names) / (this.canvas.clientWidth - this.names)));
    const at = this.view.from + span * share, next = Math.min(this.data.span, Math.max(.5, span * factor));
    this.move(at - next * share, at + next * (1 - share));
  }

  shift(share) {
    const by = (this.view.to - this.view.from) * share;
    this.move(this.view.from + by, this.view.to + by);
  }

  scroll(lanes) {
    const before = this.view.top;
    this.view.top = Math.max(0, Math.min(before + lanes, this.lanes.length - this.rows));
    this.draw();
    return this.view.top !== before;
  }

  point(row) {
    this.lane = Math.max(0, Math.min(row, this.lanes.length - 1));
    this.reveal(this.lane);
    this.draw();
  }

  reveal(row) {
    if (row < this.view.top) this.view.top = row;
    if (row >= this.view.top + this.rows) this.view.top = row - this.rows + 1;
  }

  choose(one) {
    this.chosen = one;
    if (one !== null) {
      this.lane = this.place.get(one.lane);
      this.reveal(this.lane);
      const span = this.view.to - this.view.from;
      if (!this.seen(one) || this.x(this.begin(one)) > this.canvas.clientWidth - 12) this.move(one.failed - span / 2, one.failed + span / 2);
    }
    this.draw();
  }

  // What is nearest to a place: {incident} or {mark}, or null.
  under(x, y) {
    const row = Math.floor(y / this.height) + this.view.top;
    if (x < this.names || row >= this.lanes.length || row >= this.view.top + this.rows) return null;
    const here = this.byLane.get(this.lanes[row]);
    let found = null, least = 7;
    for (const one of here.incidents) {
      const left = this.x(this.begin(one)), right = Math.max(left + 4, this.x(this.end(one)));
      const far = x < left ? left - x : x > right ? x - right : (right - left) / 1e6;
      if (far < least) { least = far; found = { incident: one }; }
    }
    for (const one of here.marks) {
      const far = Math.abs(this.x(one.at) - x) - 2;
      if (far < least) { least = far; found = { mark: one }; }
    }
    return found;
  }

  // -- drawing

  pen(canvas, height) {
    const scale = window.devicePixelRatio || 1, width = canvas.clientWidth;
    if (canvas.style.height !== height + "px") canvas.style.height = height + "px";
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    pen.font = "12.5px system-ui, sans-serif";
    pen.textBaseline = "middle";
    return pen;
  }

  draw() {
    if (this.waits) return;
    this.waits = true;
    requestAnimationFrame(() => { this.waits = false; this.now(); });
  }

  now() {
    const width = this.canvas.clientWidth, low = this.rows * this.height;
    if (!width) return;
    this.view.top = Math.max(0, Math.min(this.view.top, this.lanes.length - this.rows));
    const pen = this.pen(this.canvas, low + AXIS), color = this.color;
    pen.fillStyle = color.ground;
    pen.fillRect(0, 0, width, low + AXIS);
    if (!this.lanes.length) {
      pen.fillStyle = color.quiet;
      pen.fillText(this.data.lanes.length ? "Nothing matches." : "No incident is on record.", 12, this.height / 2);
    }
    this.ticks(pen, width, low);
    const last = Math.min(this.lanes.length, this.view.top + this.rows);
    for (let row = this.view.top; row < last; row++) this.ground(pen, row, width);
    pen.save();
    pen.beginPath();
    pen.rect(this.names, 0, width - this.names, low);
    pen.clip();
    for (let row = this.view.top; row < last; row++) this.things(pen, row);
    pen.restore();
    if (this.lanes.length > this.rows) this.thumb(pen, width, low);
    this.strip(width);
  }

  ticks(pen, width, low) {
    const span = this.view.to - this.view.from, room = width - this.names, color = this.color;
    const step = TICKS.find((each) => each / span * room >= 96) || TICKS[TICKS.length - 1];
    const begin = this.data.begin, first = Math.ceil((begin + this.view.from) / step) * step - begin;
    pen.strokeStyle = color.line;
    pen.fillStyle = color.quiet;
    pen.textAlign = "center";
    let day = "";
    for (let at = first; at <= this.view.to; at += step) {
      const x = Math.round(this.x(at)) + .5, when = new Date((begin + at) * 1000);
      const date = MONTHS[when.getUTCMonth()] + " " + when.getUTCDate();
      let text = two(when.getUTCHours()) + ":" + two(when.getUTCMinutes()) + (step < 60 ? ":" + two(when.getUTCSeconds()) : "");
      if (step >= 86400) text = date;
      else if (date !== day) text = date + " " + text;
      day = date;
      pen.beginPath();
      pen.moveTo(x, 0);
      pen.lineTo(x, low + 4);
      pen.stroke();
      const half = pen.measureText(text).width / 2;
      if (x - half > this.names - 30 && x + half < width - 1) pen.fillText(text, Math.max(x, half + 2), low + AXIS / 2 + 1);
    }
    pen.textAlign = "left";
  }

  ground(pen, row, width) {
    const { host, service, counts } = this.data.lanes[this.lanes[row]], y = (row - this.view.top) * this.height, color = this.color;
    const bar = this.bar(y);
    if (row === this.lane) {
      pen.fillStyle = color.row;
      pen.globalAlpha = .75;
      pen.fillRect(0, y, width, this.height);
      pen.globalAlpha = 1;
    }
    pen.fillStyle = color.line;
    pen.fillRect(0, y + this.height - 1, width, 1);
    // Incidents beyond the newest are known by their number only: how dark a part of the period is says how many began in it.
    if (this.data.all > this.data.incidents.length) {
      pen.fillStyle = color.dense;
      const oldest = this.data.incidents[this.data.incidents.length - 1].failed;
      counts.forEach((count, bucket) => {
        if (!count || bucket * this.data.span / this.data.buckets > oldest) return;
        const left = Math.max(this.names, this.x(bucket * this.data.span / this.data.buckets));
        const right = Math.min(width, this.x((bucket + 1) * this.data.span / this.data.buckets));
        pen.globalAlpha = Math.min(.6, .1 + count * .05);
        if (right > left) pen.fillRect(left, bar.y - 2, right - left, bar.height + 4);
      });
      pen.globalAlpha = 1;
    }
    const middle = this.narrow ? y + 11 : y + this.height / 2, room = this.narrow ? width - 12 : this.names - 16;
    pen.font = "600 12.5px system-ui, sans-serif";
    const name = this.fit(pen, service || "(host)", room * .6), used = pen.measureText(name).width;
    pen.fillStyle = color.text;
    pen.fillText(name, 8, middle);
    pen.font = "12.5px system-ui, sans-serif";
    pen.fillStyle = color.quiet;
    pen.fillText(this.fit(pen, host, room - used - 8), 16 + used, middle);
  }

  bar(y) { return this.narrow ? { y: y + 22, height: 13 } : { y: y + 8, height: 12 }; }

  // Text no wider than that, kept apart from what stands beside it whatever its direction of writing.
  fit(pen, text, room) {
    let shown = text;
    if (pen.measureText(shown).width > room) {
      let keep = Math.max(1, Math.floor(shown.length * room / pen.measureText(shown).width));
      while (keep > 1 && pen.measureText(text.slice(0, keep) + "…").width > room) keep -= 1;
      shown = text.slice(0, keep) + "…";
    }
    return "\u2068" + shown + "\u2069";
  }

  things(pen, row) {
    const here = this.byLane.get(this.lanes[row]), bar = this.bar((row - this.view.top) * this.height), color = this.color;
    const fine = this.view.to - this.view.from < 7200;
    for (const one of here.incidents) {
      if (!this.seen(one)) continue;
      const left = this.x(this.begin(one)), right = Math.max(left + 3, this.x(this.end(one)));
      this.incident(pen, one, left, right, bar);
      if (fine && right - left > 14 || one === this.chosen) {
        pen.fillStyle = color.text;
        for (const [at] of one.steps) pen.fillRect(this.x(at) - .75, bar.y - 3, 1.5, bar.height + 6);
      }
    }
    pen.fillStyle = color.mark;
    for (const one of here.marks) {
      if (one.at < this.view.from || one.at > this.view.to) continue;
      const x = this.x(one.at), y = bar.y + bar.height / 2;
      pen.beginPath();
      pen.moveTo(x, y - 6);
      pen.lineTo(x + 5, y);
      pen.lineTo(x, y + 6);
      pen.lineTo(x - 5, y);
      pen.fill();
    }
    const chosen = this.chosen;
    if (chosen !== null && chosen.lane === this.lanes[row] && this.seen(chosen)) {
      const left = this.x(this.begin(chosen)), right = Math.max(left + 3, this.x(this.end(chosen)));
      pen.strokeStyle = color.link;
      pen.lineWidth = 2.5;
      pen.strokeRect(left - 3.5, bar.y - 4.5, right - left + 7, bar.height + 9);
      pen.lineWidth = 1;
    }
  }

  // Outcomes differ in shape, too: a flag for who was called, an arrow for what goes on, an outline for what was never proven.
  incident(pen, one, left, right, bar) {
    pen.fillStyle = pen.strokeStyle = this.color[one.kind];
    if (one.kind === "closed") {
      pen.strokeRect(left + .5, bar.y + .5, Math.max(2, right - left - 1), bar.height - 1);
      return;
    }
    pen.fillRect(left, bar.y, right - left, bar.height);
    pen.beginPath();
    if (one.kind === "paged") {
      pen.moveTo(left, bar.y - 5);
      pen.lineTo(left + 8, bar.y - 5);
      pen.lineTo(left, bar.y + 1);
    } else if (one.kind === "open" && one.ended === null) {
      pen.moveTo(right - 6, bar.y - 4);
      pen.lineTo(right, bar.y + bar.height / 2);
      pen.lineTo(right - 6, bar.y + bar.height + 4);
    }
    pen.fill();
  }

  thumb(pen, width, low) {
    const size = Math.max(18, low * this.rows / this.lanes.length);
    pen.fillStyle = this.color.closed;
    pen.globalAlpha = .7;
    pen.fillRect(width - 6, (low - size) * this.view.top / (this.lanes.length - this.rows), 5, size);
    pen.globalAlpha = 1;
  }

  // All of the period, and which part of it is shown.
  strip(width) {
    const height = 46, pen = this.pen(this.overview, height), most = Math.max(1, ...this.sums), wide = width - this.names;
    pen.fillStyle = this.color.panel;
    pen.fillRect(0, 0, width, height);
    pen.fillStyle = this.color.dense;
    this.sums.forEach((count, bucket) => {
      const tall = count ? Math.max(2, Math.sqrt(count / most) * (height - 8)) : 0;
      pen.fillRect(this.names + bucket * wide / this.sums.length, height - tall, Math.max(1, wide / this.sums.length - .5), tall);
    });
    if (this.names) {
      pen.fillStyle = this.color.quiet;
      pen.fillText(this.fit(pen, this.lanes.length + (this.lanes.length === 1 ? " lane" : " lanes"), this.names - 16), 8, height / 2);
    }
    const left = this.names + this.view.from / this.data.span * wide, right = this.names + this.view.to / this.data.span * wide;
    pen.fillStyle = this.color.link;
    pen.globalAlpha = .16;
    if (right - left < wide - 1) pen.fillRect(left, 0, right - left, height);
    pen.globalAlpha = 1;
    pen.strokeStyle = this.color.link;
    pen.lineWidth = 2;
    if (right - left < wide - 1) pen.strokeRect(left, 1, Math.max(2, right - left), height - 2);
  }
}
