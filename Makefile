# Copyright (c) 2026, the faultline.selfheal maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Needs git, make, and Python >= 3.11 with its venv module. Everything it makes is below .venv/ and dist/.
# The work is done by the scripts in tests/tools, which may be called directly and hand their arguments on.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test dist lint sanity unit system integration matrix lab lab-down lab-test bench docs clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null || sed -n 's/^\([a-z-]*\):.*## /  make \1  /p' Makefile

demo: ## kill and hang a real service on this machine and watch it come back (no root, about a minute)
	@tests/tools/demo.sh

test: ## everything below but bench, docs and molecule's scenarios, and the demo; says at the end what passed
	@tests/tools/all.sh

dist: ## dist/faultline-selfheal-VERSION.tar.gz and dist/selfheal.pyz
	@tests/tools/dist.sh

lint: ## ruff, mypy, yamllint, ansible-lint, documentation, changelog
	@tests/tools/lint.sh

sanity: ## ansible-test sanity, with every Python that is here
	@tests/tools/sanity.sh

unit: ## pytest over tests/unit, against the installed tarball
	@tests/tools/unit.sh

system: ## pytest over tests/system: the daemon as real processes
	@tests/tools/system.sh

integration: ## every module by ansible-test, the lab's tests and molecule's scenarios, all against the installed tarball
	@tests/tools/all.sh integration lab molecule

matrix: ## sanity, unit and the integration of all but containers on ansible-core 2.19, 2.20 and 2.21, with every Python each runs on that is here
	@tests/tools/matrix.sh

lab: ## two real hosts with systemd (Debian 12 and 13) for playing; Docker Engine is started where none runs
	@tests/tools/lab.sh up

lab-down: ## remove the lab's hosts, and stop Docker Engine if it was started for them
	@tests/tools/lab.sh down

lab-test: ## services broken and healed on fresh hosts of the lab, Debian 12 and 13; skipped, with the reason, where there can be none
	@tests/tools/lab.sh test

bench: ## the measurements, each against its anchor in the same run
	@tests/tools/bench.sh

docs: ## generated documents, and the modules' documentation as HTML in dist/docs/html
	@tests/tools/docs.sh

clean: ## remove .venv and dist
	@rm -rf .venv dist tests/output
