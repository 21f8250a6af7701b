// Copyright (c) 2026, the faultline.selfheal maintainers
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// What the page does with the picture: filters, keys, mouse, the story of one incident, the list of all, tables that sort.
(() => {
  const STEP = 100;
  const byId = (id) => document.getElementById(id);
  const make = (name, text, kind) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const took = (ms) => ms === null ? "" : ms < 1000 ? Math.round(ms) + " ms" : ms < 60000 ? (ms / 1000).toFixed(1) + " s"
    : ms < 3600000 ? (ms / 60000).toFixed(1) + " min" : (ms / 3600000).toFixed(1) + " h";
  const OUTCOMES = { recovered: "recovered", paged: "recovered, a person was called", open: "open", closed: "closed without proof" };

  function read() {
    const data = JSON.parse(byId("data").textContent), words = data.words;
    data.lanes = data.lanes.map(([host, service, found]) => {
      let counts = found;
      if (found.length !== data.buckets) {
        counts = new Array(data.buckets).fill(0);
        for (let index = 0; index < found.length; index += 2) counts[found[index]] = found[index + 1];
      }
      return { host, service, counts };
    });
    data.incidents = data.incidents.map(([lane, failed, ended, ms, detected, outcome, reason, cause, paged, steps, name]) => ({
      lane, failed, ended, ms, detected, outcome: words[outcome], reason: words[reason], cause: words[cause], paged: words[paged], name,
      steps: steps.map(([at, type]) => [at, words[type]]), kind: words[outcome] === "recovered" && words[paged] ? "paged" : words[outcome],
    }));
    data.marks = data.marks.map(([lane, at, type, detail]) => ({ lane, at, type: words[type], detail }));
    return data;
  }

  function start() {
    byId("live").hidden = false;
    const data = read(), canvas = byId("picture"), overview = byId("overview"), tip = byId("tip");
    const picture = new Picture(canvas, overview, data);
    const time = (seconds) => new Date((data.begin + seconds) * 1000).toISOString().slice(0, 19).replace("T", " ");
    let shown = [], rows = STEP, late = 0;
    byId("older").hidden = data.all === data.incidents.length;

    // -- which

    const fits = (words) => ({ host, service }) => words.every((word) => {
      if (word.startsWith("service:")) return service.toLowerCase() === word.slice(8);
      if (word.startsWith("host:")) return host.toLowerCase() === word.slice(5);
      return (host + " " + service).toLowerCase().includes(word);
    });
    const ORDERS = {
      worst: () => 0,
      name: (a, b) => data.lanes[a].host.localeCompare(data.lanes[b].host) || data.lanes[a].service.localeCompare(data.lanes[b].service),
      service: (a, b) => data.lanes[a].service.localeCompare(data.lanes[b].service) || data.lanes[a].host.localeCompare(data.lanes[b].host),
    };

    function choose() {
      const fit = fits(byId("words").value.toLowerCase().split(/\s+/).filter(Boolean)), outcome = byId("outcome").value;
      let lanes = data.lanes.map((lane, index) => index).filter((index) => fit(data.lanes[index]));
      const wanted = new Set(lanes);
      shown = data.incidents.filter((one) => wanted.has(one.lane) && (!outcome || (outcome === "paged" ? one.paged : one.outcome === outcome)));
      if (outcome) {
        const left = new Set(shown.map((one) => one.lane));
        lanes = lanes.filter((lane) => left.has(lane));
      }
      lanes.sort(ORDERS[byId("order").value]);
      const place = new Set(lanes);
      picture.show(lanes, shown, data.marks.filter((one) => place.has(one.lane)));
      if (picture.chosen !== null && !shown.includes(picture.chosen)) close();
      rows = STEP;
      write();
    }

    const inView = () => shown.filter((one) => picture.seen(one));
    const words = (one) => OUTCOMES[one.kind] + (one.kind === "paged" || !one.paged ? "" : ", a person was called");

    function write() {
      clearTimeout(late);
      late = 0;
      const found = inView(), lanes = picture.lanes.length;
      byId("list").replaceChildren(...found.slice(0, rows).map((one) => {
        const row = make("tr"), lane = data.lanes[one.lane], first = make("th");
        const open = make("button", time(one.failed), "plain");
        first.scope = "row";
        first.className = "time";
        open.type = "button";
        open.addEventListener("click", () => { picture.choose(one); tell(true); });
        first.append(open);
        const steps = one.steps.map(([at, type]) => type + " +" + took((at - one.failed) * 1000)).join(", ");
        row.append(first, make("td", lane.host), make("td", lane.service), make("td", words(one), one.kind), make("td", took(one.ms), "time"),
          make("td", one.reason), make("td", one.cause), make("td", steps, "text"));
        return row;
      }));
      byId("more").hidden = found.length <= rows;
      const place = new Set(picture.lanes), beside = data.marks.filter((one) => place.has(one.lane) && one.at >= picture.view.from && one.at <= picture.view.to);
      byId("beside").hidden = !beside.length;
      byId("marks").replaceChildren(...beside.slice(0, rows).map((one) => {
        const row = make("tr"), lane = data.lanes[one.lane], first = make("th", time(one.at), "time");
        first.scope = "row";
        row.append(first, make("td", lane.host), make("td", lane.service), make("td", one.type.replaceAll("_", " ")), make("td", one.detail, "text"));
        return row;
      }));
      const more = data.all > data.incidents.length ? "; the newest " + data.incidents.length + " of " + data.all + " are shown one by one, all are in incidents.csv" : "";
      byId("said").textContent = found.length + (found.length === 1 ? " incident" : " incidents") + " in " + lanes + (lanes === 1 ? " lane" : " lanes")
        + ", " + time(picture.view.from) + " to " + time(picture.view.to) + " UTC" + more + ".";
    }
    const soon = () => { clearTimeout(late); late = setTimeout(write, 150); };

    // -- one incident

    function tell(focus) {
      const one = picture.chosen, lane = data.lanes[one.lane];
      byId("h-story").textContent = (lane.service || "host") + " on " + lane.host + ": " + words(one) + (one.ms === null ? "" : " in " + took(one.ms));
      const facts = [["Failed", time(one.failed) + " UTC"], ["Detected after", took(one.detected)], ["Recovered", one.ended === null ? "" : time(one.ended) + " UTC"],
        ["Reason", one.reason], ["Probable cause", one.cause], ["A person was called", one.paged], ["Incident", one.name]];
      byId("facts").replaceChildren(...facts.filter(([, text]) => text).map(([name, text]) => {
        const pair = make("div");
        pair.append(make("dt", name), make("dd", text));
        return pair;
      }));
      byId("steps").replaceChildren(...one.steps.map(([at, type]) => {
        const step = make("li");
        step.append(make("b", type), " +" + took((at - one.failed) * 1000));
        return step;
      }));
      byId("story").hidden = false;
      if (focus) {
        byId("h-story").focus({ preventScroll: true });
        byId("story").scrollIntoView({ block: "nearest" });
      } else byId("said").textContent = byId("h-story").textContent + ", " + time(one.failed) + " UTC.";
    }

    function close() {
      const inside = byId("story").contains(document.activeElement);
      picture.choose(null);
      byId("story").hidden = true;
      if (inside) canvas.focus();
    }

    // The next in time, the first of what is in view; the list runs from the newest to the oldest.
    function step(by) {
      const seen = inView(), found = picture.chosen === null && seen.length ? seen : shown, index = found.indexOf(picture.chosen);
      const next = index < 0 ? found[by > 0 ? found.length - 1 : 0] : found[index - by];
      if (next) { picture.choose(next); soon(); tell(false); }
    }

    function zoomTo() {
      const one = picture.chosen;
      if (one === null) return;
      const long = Math.max(10, (picture.end(one) - one.failed) * 1.5, ...one.steps.map(([at]) => (at - one.failed) * 1.2));
      picture.move(one.failed - long * .2, one.failed + long);
      soon();
    }

    // -- keys, buttons, mouse

    const moved = (action) => () => { action(); soon(); };
    const doing = { in: moved(() => picture.zoom(.5)), out: moved(() => picture.zoom(2)), left: moved(() => picture.shift(-.4)),
      right: moved(() => picture.shift(.4)), all: moved(() => picture.move(0, data.span)), more: () => { rows += STEP; write(); },
      next: () => step(1), previous: () => step(-1), zoom: zoomTo, close };
    document.querySelectorAll("[data-do]").forEach((button) => button.addEventListener("click", () => doing[button.dataset.do]()));
    const escape = () => { if (picture.chosen !== null) close(); else doing.all(); };
    const keys = { "+": doing.in, "=": doing.in, "-": doing.out, ArrowLeft: moved(() => picture.shift(-.2)), ArrowRight: moved(() => picture.shift(.2)),
      ArrowUp: () => picture.point((picture.lane < 0 ? 1 : picture.lane) - 1), ArrowDown: () => picture.point(picture.lane + 1),
      PageUp: () => picture.scroll(-picture.rows), PageDown: () => picture.scroll(picture.rows), "0": doing.all, Home: doing.all,
      n: () => step(1), p: () => step(-1), Enter: zoomTo, Escape: escape };
    canvas.addEventListener("keydown", (event) => {
      if (!Object.hasOwn(keys, event.key) || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      keys[event.key]();
    });
    byId("story").addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
    canvas.addEventListener("wheel", (event) => {
      const sideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
      if (event.ctrlKey || event.metaKey) picture.zoom(event.deltaY > 0 ? 1.25 : .8, event.offsetX);
      else if (sideways) picture.shift((event.deltaX || event.deltaY) / 1500);
      else if (!picture.scroll(Math.sign(event.deltaY) * 2)) return;
      event.preventDefault();
      soon();
    }, { passive: false });
    canvas.addEventListener("dblclick", (event) => { picture.zoom(.4, event.offsetX); soon(); });

    const fingers = new Map();
    let travelled = 0;
    canvas.addEventListener("pointerdown", (event) => {
      fingers.set(event.pointerId, event.offsetX);
      travelled = 0;
      canvas.setPointerCapture(event.pointerId);
    });
    canvas.addEventListener("pointermove", (event) => {
      const before = fingers.get(event.pointerId);
      if (before === undefined) { hint(event); return; }
      const others = [...fingers].filter(([id]) => id !== event.pointerId).map(([, x]) => x);
      travelled += Math.abs(event.offsetX - before);
      if (others.length) {
        const now = Math.abs(event.offsetX - others[0]), then = Math.abs(before - others[0]);
        if (now > 8 && then > 8) picture.zoom(then / now, (event.offsetX + others[0]) / 2);
      } else if (travelled > 3) {
        const by = picture.at(before) - picture.at(event.offsetX);
        picture.move(picture.view.from + by, picture.view.to + by);
        tip.hidden = true;
      }
      fingers.set(event.pointerId, event.offsetX);
      soon();
    });
    const lifted = (event) => {
      if (fingers.delete(event.pointerId) && event.type === "pointerup" && travelled <= 3) {
        const found = picture.under(event.offsetX, event.offsetY);
        if (found && found.incident) { picture.choose(found.incident); tell(false); } else if (picture.chosen !== null) close();
      }
    };
    canvas.addEventListener("pointerup", lifted);
    canvas.addEventListener("pointercancel", lifted);
    canvas.addEventListener("pointerleave", () => { tip.hidden = true; });

    function hint(event) {
      const found = picture.under(event.offsetX, event.offsetY);
      tip.hidden = !found;
      if (!found) return;
      const one = found.incident || found.mark, lane = data.lanes[one.lane];
      tip.textContent = found.mark ? one.type.replaceAll("_", " ") + "\n" + time(one.at) + (one.detail ? "\n" + one.detail : "")
        : (lane.service || "host") + ": " + words(one) + (one.ms === null ? "" : " in " + took(one.ms)) + "\n" + time(one.failed)
          + (one.reason ? "\n" + one.reason : "") + (one.cause ? ", " + one.cause : "");
      tip.style.left = Math.max(0, Math.min(event.offsetX + 14, canvas.clientWidth - tip.offsetWidth - 4)) + "px";
      tip.style.top = event.offsetY + 18 + "px";
    }

    let pulled = null;
    const part = (event) => Math.max(0, Math.min(1, (event.offsetX - picture.names) / (overview.clientWidth - picture.names))) * data.span;
    overview.addEventListener("pointerdown", (event) => { pulled = part(event); overview.setPointerCapture(event.pointerId); });
    overview.addEventListener("pointermove", (event) => {
      if (pulled === null) return;
      const here = part(event);
      if (Math.abs(here - pulled) > data.span / 200) picture.move(Math.min(here, pulled), Math.max(here, pulled));
      soon();
    });
    overview.addEventListener("pointerup", (event) => {
      const here = part(event), span = picture.view.to - picture.view.from;
      if (pulled !== null && Math.abs(here - pulled) <= data.span / 200) picture.move(here - span / 2, here + span / 2);
      pulled = null;
      soon();
    });

    // -- the rest of the page

    byId("tools").addEventListener("submit", (event) => event.preventDefault());
    byId("words").addEventListener("input", choose);
    for (const id of ["outcome", "order"]) byId(id).addEventListener("change", choose);
    window.addEventListener("resize", () => picture.draw());
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { picture.colors(); picture.draw(); });
    document.querySelectorAll("[data-only]").forEach((cell) => {
      const button = make("button", cell.textContent, "plain");
      button.type = "button";
      button.title = "Show it in the timeline";
      button.addEventListener("click", () => {
        byId("words").value = cell.dataset.only + ":" + cell.textContent;
        choose();
        byId("h-picture").scrollIntoView();
        canvas.focus({ preventScroll: true });
      });
      cell.replaceChildren(button);
    });
    choose();
  }

  function sortable(table) {
    const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
    heads.forEach((head, column) => {
      if (head.tagName !== "TH") return;
      const button = make("button", head.textContent);
      button.type = "button";
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") !== "descending", number = head.classList.contains("n");
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const value = (row) => number ? Number(row.cells[column].dataset.v || -1) : row.cells[column].textContent;
        const sign = down ? -1 : 1;
        body.append(...[...body.rows].sort((a, b) => {
          const one = value(a), other = value(b);
          return sign * (number ? one - other : one.localeCompare(other));
        }));
      });
    });
  }

  function hosts() {
    const words = byId("host-words"), chain = byId("host-chain");
    byId("host-tools").hidden = false;
    byId("host-tools").addEventListener("submit", (event) => event.preventDefault());
    const choose = () => {
      const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of byId("hosts").tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = row.cells.length > 1 && (!wanted.every((word) => text.includes(word)) || Boolean(chain.value) && row.cells[1].textContent !== chain.value);
      }
    };
    words.addEventListener("input", choose);
    chain.addEventListener("change", choose);
  }

  // What can be read is painted first.
  requestAnimationFrame(() => setTimeout(() => {
    document.querySelectorAll("table.sortable").forEach(sortable);
    hosts();
    start();
    document.documentElement.dataset.ready = "yes";
  }));
})();
