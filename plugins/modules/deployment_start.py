#!/usr/bin/python
# -*- coding: utf-8 -*-
# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: deployment_start
short_description: Deploy a release that is never half there
version_added: 0.1.0
author:
  - The faultline.selfheal maintainers (@faultline-selfheal)
description:
  - Builds a release beside the one that serves, proves it by a manifest of sizes and checksums, makes it current by one rename of a
    relative link, restarts what runs it, and asks its probes. If anything fails, everything is put back, and the release before is
    serving when the module returns.
  - Each phase is journalled durably before it begins and when it has ended. A deployment that is cut off at any instant is taken up again
    by M(faultline.selfheal.deployment_resume), or put back by the next one.
  - Takes the leases of the project and of what it restarts, so that nothing is healed in the middle of a deployment, and nothing deployed
    in the middle of a healing. The lease of one who provably died is taken over. That of a person never is.
  - The tree is that of Capistrano and its kin, with C(deployments) instead of C(releases). A C(current) that leads to a release which
    no journal knows is gone back to as well, when a deployment fails.
options:
  root:
    description: The directory of all projects. It must exist, and only its owner may write to it.
    type: path
    required: true
  project:
    description: The project's name, which is one directory below O(root). It is created when it is missing. It must not be a link.
    type: str
    required: true
  id:
    description:
      - The name of the release. Letters, digits, C(.), C(_) and C(-).
      - The default is the host's time in UTC. Give one, to have the same on all hosts.
      - An id that was used is refused, also after a failure. But the very same deployment, active already from the same source, is
        V(unchanged).
    type: str
  source:
    description: Where the files come from. Exactly one kind.
    type: dict
    required: true
    suboptions:
      upload:
        description: An archive or a directory on the host, put there before.
        type: dict
        suboptions:
          path:
            description:
              - A tar, tar.gz or zip archive, or a directory. An archive is kept under its checksum, so that the release can be built again.
              - Entries that lead out of the release, devices, and archives beyond 4 GiB or 200,000 entries are refused.
            type: path
            required: true
      git:
        description: A repository. A bare mirror of it is kept beside the project, with the commits that were deployed.
        type: dict
        suboptions:
          repository:
            description: An absolute path, an https, ssh or git URL, or C(user@host:path). It must hold no credentials.
            type: str
            required: true
          ref:
            description: A branch, a tag or a commit. The commit it stands for is journalled, and is what a resumed deployment goes on with.
            type: str
            default: HEAD
          token_file:
            description: A file on the host with a token for https. It reaches git through its environment only.
            type: path
          key_file:
            description: A private key on the host for ssh.
            type: path
          timeout:
            description: Seconds that one transfer may take.
            type: float
            default: 300
      image:
        description:
          - A container of an image, which is made beside the container before, and has to pass its own health check and every probe that
            asks it at the host C(container) before it gets any traffic. Then it takes the name.
          - With O(routes) that name it as C(@container:80@), the new one has a port of this host of its own, and the routes lead there.
            With a network alias in the O(source.image.definition) it gets the alias. Both run until the new one is proven. The old
            one has O(source.image.drain) to finish what it has, and is kept, stopped, until the next deployment.
          - With a fixed port of the host the old one has to stop before the new one starts. The image is tried on another port first.
            For the moment between the two give a O(fallback).
          - A rollback goes to the image of the release before, by its id. C(docs/containers.md) tells it all.
          - A container of that name that no deployment made is C(name_conflict), an image that is missing C(image_missing), and nothing is
            touched.
        type: dict
        suboptions:
          reference:
            description: An image that the engine has. It is not pulled. Its id is journalled, and is what counts from then on.
            type: str
            required: true
          container:
            description: The container's name.
            type: str
            required: true
          definition:
            description:
              - What the container is made of besides, all of it, in the words of the engine's C(POST /containers/create), such as C(Cmd),
                C(Env), C(HostConfig) and C(NetworkingConfig).
            type: dict
            default: {}
          drain:
            description:
              - Seconds that the old container has at most, once the new one has the traffic. It is stopped as soon as nobody is connected
                to it and nobody has come for two seconds.
            type: float
            default: 10
          beside:
            description:
              - V(false) where two of these containers must never run at the same time.
              - V(true) lets the image be tried before a swap although both would write to the same volume.
            type: bool
  build:
    description:
      - Commands that are run one after the other in the new tree. No shell reads them.
      - Where systemd runs, each has a transient unit of its own.
    type: list
    elements: dict
    default: []
    suboptions:
      argv:
        description: The program and its arguments. A relative path means a program in the release.
        type: list
        elements: str
        required: true
      timeout:
        description: Seconds after which it is killed with everything it started.
        type: float
        default: 600
      environment:
        description: Variables for it. With systemd they can be seen by local users, and are no place for secrets.
        type: dict
        default: {}
  shared:
    description:
      - Paths of the release that are links to the same paths below C(shared).
      - One that ends in C(/) is a directory that is made when it is missing. Any other must be there.
    type: list
    elements: str
    default: []
  routes:
    description: Files outside the project that are written with the release, and put back with it.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: The file. It is replaced atomically, and keeps its owner and mode.
        type: path
        required: true
      content:
        description: Its text.
        type: str
        required: true
      validate:
        description:
          - A command that says by its exit status whether the file is right.
          - An argument with C(%s) gets the path of the new file before it is in place. Without one, the command runs when all routes are
            written.
        type: list
        elements: str
        default: []
      reload:
        description: A command that makes it take effect. What several routes have in common is run once.
        type: list
        elements: str
        default: []
      timeout:
        description: Seconds that each of the two commands may take.
        type: float
        default: 30
  health:
    description:
      - Probes as in contracts, of kinds C(http), C(tcp), C(exec), C(unit) and C(process). C(docs/contract.md) has their options.
      - The release is good when all of them are well. Without any, nothing proves it.
    type: list
    elements: dict
    default: []
  health_within:
    description: For so many seconds the probes are asked again until all are well.
    type: float
    default: 60
  restart:
    description: What is restarted when C(current) has moved, and when it has moved back. One of the two.
    type: dict
    suboptions:
      unit:
        description: A systemd unit.
        type: str
      service:
        description: A service by its contract in C(contracts.json) below O(etc).
        type: str
  fallback:
    description:
      - Where traffic goes from before the swap until the probes are well, as in contracts.
      - With no backup that is up, traffic stays, and a warning says so.
    type: dict
  keep:
    description:
      - How many releases stay. The current one always does.
      - Bad ones go first, then those that were left in doubt, then the oldest good ones.
      - A release that a living process works in stays, and a warning names it.
    type: int
    default: 5
  schema:
    description: The version of the data that this release reads.
    type: int
  schema_floor:
    description: The oldest O(schema) that may read the data which this release leaves behind. No rollback goes below it.
    type: int
extends_documentation_fragment:
  - faultline.selfheal.places
  - faultline.selfheal.deployment
attributes:
  check_mode:
    description: Checks the request, the tree, holds and leases, and pins the source. It writes nothing, fetches nothing and takes no lease.
    support: partial
    details:
      - Whether a build succeeds and whether the release is healthy cannot be known.
  diff_mode:
    description: Shows the link and the phases, before and after.
    support: full
  idempotent:
    description: With an O(id), a second run from the same source changes nothing. Without one every run is a new deployment.
    support: partial
    details:
      - An upload that is gone by then is taken to be what it was.
seealso:
  - module: faultline.selfheal.deployment_resume
  - module: faultline.selfheal.deployment_rollback
requirements:
  - Linux
  - python >= 3.9
  - git, for sources of that kind
"""

EXAMPLES = r"""
- name: Deploy an archive
  faultline.selfheal.deployment_start:
    root: /srv/www
    project: web
    source:
      upload:
        path: /var/tmp/web-1.4.2.tar.gz

- name: Deploy a tag, under one id on all hosts
  faultline.selfheal.deployment_start:
    root: /srv/www
    project: web
    id: "{{ release_id }}"
    source:
      git:
        repository: https://git.example.com/web.git
        ref: v1.4.2
        token_file: /etc/selfheal/git.token

- name: Build it, share what outlives releases, restart it, and let its own readiness decide
  faultline.selfheal.deployment_start:
    root: /srv/www
    project: web
    source:
      git:
        repository: /srv/git/web.git
        ref: main
    build:
      - argv: [make, build]
        timeout: 600
        environment:
          NODE_ENV: production
    shared:
      - log/
      - config/.env
    restart:
      unit: web.service
    health:
      - http:
          url: http://127.0.0.1:8080/ready
        timeout: 4
    keep: 5

- name: Take traffic away while it is judged, and write a map of the load balancer with it
  faultline.selfheal.deployment_start:
    root: /srv/www
    project: web
    source:
      upload:
        path: /var/tmp/web.tar.gz
    restart:
      service: web
    fallback:
      haproxy:
        socket: /run/haproxy/admin.sock
        backend: web
        primary: web1
        backup: web2
    routes:
      - path: /etc/haproxy/maps/web.map
        content: |
          /beta beta
        validate: [/usr/sbin/haproxy, -c, -f, /etc/haproxy/haproxy.cfg]
        reload: [/usr/bin/systemctl, reload, haproxy]
    health:
      - http:
          url: http://127.0.0.1:8080/ready

- name: A container of an image behind HAProxy; no request is lost
  faultline.selfheal.deployment_start:
    root: /srv/www
    project: web
    source:
      image:
        reference: registry.example/web:2.4
        container: web
        definition:
          Env: [MODE=production]
          HostConfig:
            RestartPolicy:
              Name: unless-stopped
    routes:
      - path: /etc/haproxy/conf.d/web.cfg
        content: |
          backend web
              server web @container:80@ check
        validate: [/usr/sbin/haproxy, -c, -f, /etc/haproxy/haproxy.cfg, -f, /etc/haproxy/conf.d]
        reload: [/usr/bin/systemctl, reload, haproxy]
    health:
      - name: itself
        http:
          url: http://container/ready
      - name: through the balancer
        http:
          url: http://127.0.0.1/ready

- name: A release that has migrated its data, so that nothing older than schema 41 may be gone back to
  faultline.selfheal.deployment_start:
    root: /srv/www
    project: web
    source:
      upload:
        path: /var/tmp/web.tar.gz
    schema: 42
    schema_floor: 41

- name: Wait up to five minutes for whoever deploys or heals it at this moment
  faultline.selfheal.deployment_start:
    root: /srv/www
    project: web
    wait: 300
    source:
      upload:
        path: /var/tmp/web.tar.gz
"""

RETURN = r"""
deployment:
  description:
    - The deployment's journal, without what may be secret. In check mode C(phases), C(source), C(current), C(builds), C(shared) and
      C(routes) as they would be.
  returned: when one was begun or would be
  type: dict
  contains:
    id:
      description: The deployment's name.
      type: str
      sample: "20261121210330"
    project:
      description: The project's name.
      type: str
      sample: web
    kind:
      description: V(deploy), V(redeploy) or V(rollback).
      type: str
      sample: deploy
    release:
      description: The release it makes current, a directory below C(deployments).
      type: str
      sample: "20261121210330"
    phase:
      description: V(active) or V(failed).
      type: str
      sample: active
    started_at:
      description: When it was begun.
      type: str
      sample: "2026-11-21T21:03:30.101Z"
    phase_updated_at:
      description: When something was last noted in its journal.
      type: str
      sample: "2026-11-21T21:03:36.412Z"
    previous:
      description: What C(current) said before, empty if there was none. V(null) if it was not swapped.
      type: str
      sample: deployments/20261120180000
    left:
      description: The release that was current before, V(null) if there was none.
      type: str
      sample: "20261120180000"
    resumed:
      description: How often it was taken up after it had been cut off.
      type: int
      sample: 0
    notes:
      description: What people should know and what changed no outcome.
      type: list
      elements: str
      sample: []
    owner:
      description: The process that is or was at work on it.
      type: dict
      sample: {pid: 4711, start_time: 8153241, boot_id: 4416281b-99ea-46fd-986a-e09749195249}
    request:
      description: What was asked for, without texts of routes, values of environments and headers.
      type: dict
      sample: {root: /srv/www, project: web, keep: 5}
    phases:
      description: Every phase with the time of its beginning and end, and what proves it.
      type: list
      elements: dict
      sample:
        - phase: pulling_source
          began: "2026-11-21T21:03:30.120Z"
          ended: "2026-11-21T21:03:31.004Z"
          proof: {kind: upload, path: /var/tmp/web.tar.gz, sha256: 9f86d081884c7d659a2feaa0c55ad015, bytes: 51200}
    source:
      description: What identifies the source, the commit or the checksum.
      type: dict
      sample: {kind: git, repository: /srv/git/web.git, ref: main, commit: 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12}
    manifest:
      description: How many files and bytes, and one checksum over all.
      type: dict
      sample: {files: 120, bytes: 812345, sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08}
    activated_at:
      description: When it became active, V(null) if it did not.
      type: str
      sample: "2026-11-21T21:03:36.412Z"
    standing:
      description: What is held of the release. C(word) is V(good), V(suspect) or V(bad).
      type: dict
      sample: {word: good, reason: active, at: "2026-11-21T21:03:36.412Z"}
    failure:
      description: In which C(phase) it failed, with C(reason), C(detail) and C(resume_attempted). V(null) if it did not.
      type: dict
      sample: null
results:
  description: The same in the shape that all modules of the collection share, with one entry.
  returned: always, unless an argument was wrong
  type: list
  elements: dict
  sample:
    - name: web
      action: deploy
      outcome: changed
      reason: null
      detail: 20261121210330 is active
      before: deployments/20261120180000
      after: deployments/20261121210330
summary:
  description: How many had which outcome.
  returned: always, unless an argument was wrong
  type: dict
  sample: {changed: 1, unchanged: 0, planned: 0, blocked: 0, failed: 0}
"""

from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._engine.deploy_report import OPTIONS, attempted, ending, new_id, secrets, site_of, warnings_of
from ..module_utils._engine.deployer import Deployer, Told
from ..module_utils._module import Report, given, run

ASKED = ("root", "project", "source", "build", "shared", "routes", "health", "health_within", "restart", "fallback", "keep")
ASKED += ("schema", "schema_floor")


def request_of(options: Dict[str, Any], wall: float) -> Dict[str, Any]:
    """What is asked for, as it was written."""
    wanted = given({key: options[key] for key in ASKED})
    for route in wanted.get("routes", []):
        for key in ("validate", "reload"):
            if not route[key]:
                del route[key]  # an empty list is no command
    wanted["id"] = options["id"] if options["id"] is not None else new_id(wall)
    return wanted


def deploy(module: Any) -> Report:
    options = module.params
    module.no_log_values.update(secrets(options))
    with site_of(options) as site:
        wanted = request_of(options, site.host.wall())

        def errand() -> Told:
            override = tuple(options["override"])
            return Deployer(site, options["root"], options["project"], options["wait"], override, check=module.check_mode).start(wanted)

        told = attempted(errand)
    failure = None
    if told.outcome in ("failed", "blocked"):
        failure = "%s was not deployed (%s): %s" % (options["project"], told.reason, told.detail)
    return Report(ending(options["project"], "deploy", told), failure, warnings_of([told], site))


def main() -> None:
    upload = {"path": {"type": "path", "required": True}}
    git = {
        "repository": {"type": "str", "required": True},
        "ref": {"type": "str", "default": "HEAD"},
        "token_file": {"type": "path"},
        "key_file": {"type": "path", "no_log": False},
        "timeout": {"type": "float", "default": 300},
    }
    image = {
        "reference": {"type": "str", "required": True},
        "container": {"type": "str", "required": True},
        "definition": {"type": "dict", "default": {}},
        "drain": {"type": "float", "default": 10},
        "beside": {"type": "bool"},
    }
    source = {
        "upload": {"type": "dict", "options": upload},
        "git": {"type": "dict", "options": git},
        "image": {"type": "dict", "options": image},
    }
    build = {
        "argv": {"type": "list", "elements": "str", "required": True},
        "timeout": {"type": "float", "default": 600},
        "environment": {"type": "dict", "default": {}},
    }
    route = {
        "path": {"type": "path", "required": True},
        "content": {"type": "str", "required": True},
        "validate": {"type": "list", "elements": "str", "default": []},
        "reload": {"type": "list", "elements": "str", "default": []},
        "timeout": {"type": "float", "default": 30},
    }
    spec = {
        "root": {"type": "path", "required": True},
        "project": {"type": "str", "required": True},
        "id": {"type": "str"},
        "source": {"type": "dict", "required": True, "options": source},
        "build": {"type": "list", "elements": "dict", "default": [], "options": build},
        "shared": {"type": "list", "elements": "str", "default": []},
        "routes": {"type": "list", "elements": "dict", "default": [], "options": route},
        "health": {"type": "list", "elements": "dict", "default": []},
        "health_within": {"type": "float", "default": 60},
        "restart": {"type": "dict", "options": {"unit": {"type": "str"}, "service": {"type": "str"}}},
        "fallback": {"type": "dict"},
        "keep": {"type": "int", "default": 5},
        "schema": {"type": "int"},
        "schema_floor": {"type": "int"},
        **OPTIONS,
    }
    # The environment of a build and the text of a route may hold secrets; the system's log gets none of the arguments.
    run(AnsibleModule(argument_spec=spec, supports_check_mode=True, no_log=True), deploy)


if __name__ == "__main__":
    main()
