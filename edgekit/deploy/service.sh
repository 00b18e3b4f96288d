# A systemd unit on a board. `verb`, `scope` (system or user; empty: by who asks), `unit` and `current` (the folder of the
# current version) are set before; for `start` the unit's text comes on stdin. Prints what became of it, for `look` its text.
test "$(id -u)" = 0 && mine=system || mine=user
test -n "$scope" || scope=$mine
if test "$scope" != "$mine"; then
  echo "its unit is one of the $scope, and you log in for one of the $mine" >&2
  exit 1
fi
case $scope in
  system)
    folder=/etc/systemd/system target=multi-user.target
    ctl() { systemctl "$@"; }
    ;;
  user)
    folder=${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user target=default.target
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
is_up() {
  case $1 in initializing | starting | running | degraded) true ;; *) false ;; esac
}
runs() { is_up "$(ctl is-system-running 2>/dev/null)"; }
show() { ctl show -p "$1" --value "$unit"; }
# Whether what runs is of the current version: a version that has gone may run on until it ends.
is_current() {
  ctl is-active --quiet "$unit" &&
    test "$(readlink "/proc/$(show MainPID)/exe")" = "$(cd "$current" && pwd -P)/streamer"
}
# Whether it has run to the end of its samples, and waits to be started again.
is_between() {
  case $(show SubState) in auto-restart*) test "$(show Result) $(show ExecMainStatus)" = 'success 0' ;; *) false ;; esac
}

case $verb in
  look)
    test ! -e "$folder/$unit" || head -c 65536 "$folder/$unit"
    ;;
  start)
    mkdir -p "$folder" && cat >"$folder/.$unit.new" || exit 1
    was=$(cat "$folder/$unit" 2>/dev/null)
    mv -f "$folder/.$unit.new" "$folder/$unit" || exit 1
    if ! runs; then
      # What `enable` does where somebody can be asked.
      mkdir -p "$folder/$target.wants" && ln -sf "$folder/$unit" "$folder/$target.wants/$unit" || exit 1
      if test "$scope" = user && is_up "$(systemctl is-system-running 2>/dev/null)"; then
        printf 'installed, not started: no systemd of %s runs there; ' "$(id -un)"
        echo "sudo loginctl enable-linger $(id -un), then the same command"
      else
        echo 'installed, not started: systemd does not run there'
      fi
      exit 0
    fi
    ctl daemon-reload && ctl enable "$unit" >/dev/null || exit 1
    if test "$was" != "$(cat "$folder/$unit")" || ! is_current; then
      ctl restart "$unit" || exit 1
      for try in 1 2 3 4 5; do # a slow board takes long to start anything
        sleep 1
        if is_between; then said='; its samples end at once, and it waits for more'; break; fi
        if is_current; then said=$(remark); break; fi
        test "$try" != 5 || { ctl status --no-pager -n 5 "$unit" >&2; exit 1; }
      done
      printf 'active%s\n' "$said"
    else
      printf 'active%s\n' "$(remark)"
    fi
    ;;
  stop)
    said=none # without its file, of a start or a stop that failed halfway, systemd has nothing to disable
    if test -e "$folder/$unit"; then
      if runs; then ctl disable --now "$unit" || exit 1; fi
      rm -f "$folder/$unit" || exit 1
      said=removed
    fi
    rm -f "$folder/$target.wants/$unit" || exit 1
    if runs; then ctl daemon-reload || exit 1; fi
    echo "$said"
    ;;
esac
