#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-2.0
# Check the protocol of transitions in all orders of its steps, and that mutations of it
# are found:
#   make model
#   make model SETUPS="three-disable three-stack"    larger worlds; SETUPS=list lists them
#   make model STORY=NoHooks                         what happens if this is changed
. "$(dirname "$0")/lib.sh"

[ -z "${SETUPS:-}" ] || [ -z "${STORY:-}" ] || die "SETUPS and STORY are both given" "give one of them"
have_tool "$MODEL"
# shellcheck disable=SC2086
case ${SETUPS:-} in
'') ;;
list) exec "$tool" list;;
*) exec "$tool" check $SETUPS;;
esac
[ -z "${STORY:-}" ] || exec "$tool" story "$STORY"
exec "$tool"
