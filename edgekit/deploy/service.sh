# A systemd unit on a board. `verb`, `scope` (system or user; empty: by who asks), `unit` and `current` (the folder of the
# current version) are set before; for `start` the unit's text comes on stdin. Prints what became of it.
test -n "$scope" || { test "$(id -u)" = 0 && scope=system || scope=user; }
case $scope in
  system)
    folder=/etc/systemd/system
    ctl() { systemctl "$@"; }
    ;;
  user)
    folder=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user
    export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-/run/user/$(id -u)}"
    ctl() { systemctl --user "$@"; }
    ;;
esac
# Units of a user end with the last login, unless the user lingers.
remark() {
  test "$scope" = user || return
  user=$(id -un)
  test "$(loginctl show-user "$user" -p Linger --value 2>/dev/null)" = yes || test -e "/var/lib/systemd/linger/$user" ||
    printf ' until %s logs out; for longer: sudo loginctl enable-linger %s' "$user" "$user"
}
runs() {
  case $(ctl is-system-running 2>/dev/null) in
    initializing | starting | running | degraded) true ;;
    *) false ;;
  esac
}
# Whether what runs is of the current version: a version that has gone may run on until it ends.
is_current() {
  ctl is-active --quiet "$unit" &&
    test "$(readlink "/proc/$(ctl show -p MainPID --value "$unit")/exe")" = "$(cd "$current" && pwd -P)/streamer"
}

case $verb in
  start)
    mkdir -p "$folder" && cat >"$folder/.$unit.new" || exit 1
    was=$(cat "$folder/$unit" 2>/dev/null)
    mv -f "$folder/.$unit.new" "$folder/$unit" || exit 1
    if ! runs; then
      echo 'installed, not started: systemd does not run there'
      exit 0
    fi
    ctl daemon-reload && ctl enable "$unit" >/dev/null || exit 1
    if test "$was" != "$(cat "$folder/$unit")" || ! is_current; then
      ctl restart "$unit" && sleep 1 || exit 1
      is_current || { ctl status --no-pager -n 5 "$unit" >&2; exit 1; }
    fi
    printf 'active%s\n' "$(remark)"
    ;;
  stop)
    said=none # without its file, of a start or a stop that failed halfway, systemd has nothing to disable
    if test -e "$folder/$unit"; then
      if runs; then ctl disable --now "$unit" || exit 1; fi
      rm -f "$folder/$unit" || exit 1
      said=removed
    fi
    if runs; then ctl daemon-reload || exit 1; fi
    echo "$said"
    ;;
esac
