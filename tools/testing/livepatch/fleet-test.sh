#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# A part of SUITE=fleet, in the toolchain root: fleet-test.sh TOOLS KLP PART, with the folder
# that setup.sh has made and the program klp. Prints "NAME: N passed" if all of it has.
set -euo pipefail

tools=$1 klp=$2 part=$3
here=$(cd "$(dirname "$0")/../../livepatch" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
# Nothing of the machine's own configuration or collections.
export PATH=$tools/venv/bin:$tools/usr/bin:$PATH HOME=$tmp/home ANSIBLE_HOME=$tmp/home/.ansible \
	ANSIBLE_COLLECTIONS_PATH=$tmp PYTHONDONTWRITEBYTECODE=y NO_COLOR=y
mkdir -p "$HOME"

# pytests FOLDER NAME: the tests of a folder. A test that is skipped is not counted, and its
# run fails for that.
pytests() {
	(cd "$here/ansible" && KLP_PROGRAM=$klp python -m pytest -p no:cacheprovider -q "tests/$1") | tee "$tmp/said"
	sed -n "s/^\([0-9]* passed\) in .*/$2: \1/p" "$tmp/said" | grep .
}

# Tools find a collection by the folders that it is in.
in_collection() {
	mkdir -p "$tmp/ansible_collections/livepatch"
	cp -r "$here/ansible" "$tmp/ansible_collections/livepatch/klp"
	cd "$tmp/ansible_collections/livepatch/klp"
}

# Ansible's own tests for collections. What they need is in TOOLS/home.
sanity() {
	in_collection
	HOME=$tools/home ansible-test sanity --python default --color no --skip-test shellcheck "$@" | tee "$tmp/said"
	[ $# = 0 ] || return 0
	echo "sanity: $(grep -c '^Running sanity test' "$tmp/said") passed"
}

lint() {
	local name said
	in_collection
	ansible-lint --offline --profile production
	echo "ansible-lint: 1 passed"
	for name in klp_info klp_patch; do
		ansible-doc --json "livepatch.klp.$name" >"$tmp/doc.json"
		python - "$tmp/doc.json" "$name" <<-'EOF'
			import json, re, sys
			doc = json.load(open(sys.argv[1]))["livepatch.klp." + sys.argv[2]]
			assert doc["examples"] and doc["return"], "no EXAMPLES or RETURN"
			code = open(doc["doc"]["filename"]).read()
			code += open(doc["doc"]["filename"].replace("modules/" + sys.argv[2], "module_utils/klp")).read()
			for option in doc["doc"]["options"]:
			    assert re.search(r"\b%s=dict\(" % option, code), option + " is documented, and not there"
		EOF
		echo "ansible-doc: 1 passed"
	done
	said=$(ansible-doc -t role --json livepatch.klp.rollout | python -c \
		'import json, sys; print(*json.load(sys.stdin)["livepatch.klp.rollout"]["entry_points"]["main"]["options"])')
	# Each variable that the role takes is documented.
	for name in $(sed -n 's/^\(rollout_[a-z_]*\):.*/\1/p' roles/rollout/defaults/main.yml); do
		grep -qw "$name" <<<"$said" || { echo "$name is not in argument_specs.yml"; exit 1; }
	done
	echo "role arguments: 1 passed"
}

case $part in
lint) lint;;
prime) sanity --prime-venvs;;
sanity) sanity;;
modules) pytests unit modules;;
rollout) pytests rollout rollout;;
prometheus) python "$here/prometheus/check.py" "$tools/usr/bin/promtool" "$klp";;
*) echo "there is no part $part" >&2; exit 2;;
esac
