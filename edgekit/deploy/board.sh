# Holds an install folder of a board for one deploy: what comes goes into $base/.staging/$name, which this shell removes
# when its input ends, and then says `gone`. Requests are lines on stdin, each answered by what it prints and `done`, or by
# `fail CAUSE; REMEDY`. `name` and `base` are set before; names in requests are words without blanks.
umask 077
d=
trap 'test -z "$d" || leave; echo gone' EXIT
trap 'exit 1' HUP INT TERM PIPE
# A program that takes long has written its number into the folder.
leave() {
  test ! -f "$d/pid" || kill "$(cat "$d/pid")" 2>/dev/null
  rm -rf "$d"
}
case $base in '~') base=$HOME ;; '~/'*) base=$HOME/${base#??} ;; esac
mkdir -p "$base/.staging" 2>/dev/null && cd "$base" && base=$(pwd -P)
mkdir "$base/.staging/$name" 2>/dev/null && d=$base/.staging/$name
printf '%s\n' "$base/.staging/$name"
uname -m
free=$(df -Pk "$base" 2>/dev/null | tail -n 1)
printf '%s\n' "${free:-unknown}"

is_version() {
  printf '%s\n' "$1" | grep -Eqx '[0-9]{4,9}-[0-9a-f]{12}'
}

# Whether a name is free, or a folder that a deploy has made: one with a current version, or one with versions and nothing
# else, where the first deploy was cut off.
ours() {
  test ! -L "$base/$1" && test ! -L "$base/$1/versions" || return
  link=$(readlink "$base/$1/current")
  test "${link#versions/}" != "$link" && is_version "${link#versions/}" && return
  test -z "$(ls -A "$base/$1" 2>/dev/null | grep -vx -e versions -e '[.]new')" &&
    test -z "$(ls -A "$base/$1/versions" 2>/dev/null | grep -Evx '[0-9]{4,9}-[0-9a-f]{12}')"
}
foreign() {
  echo "fail has something else at $base/$1, which is not touched; move it away, or name another folder"
}

# One deploy at a time: the kernel lets go of the lock when this shell ends, however it ends. A second look, for one that
# was just cut off. With a name, that of an artifact to come.
lock() {
  test -n "$d" || { echo "fail does not let you make the folder $base; make it by hand, or name another one"; return; }
  command -v flock >/dev/null || { echo 'fail has no flock, which keeps two deploys apart; install util-linux'; return; }
  test ! -L "$base/.lock" && { test -f "$base/.lock" || test ! -e "$base/.lock"; } ||
    { echo "fail has no plain file at $base/.lock; move away what is there"; return; }
  { true >>"$base/.lock"; } 2>/dev/null || { echo "fail does not let you write $base/.lock; mend its mode"; return; }
  exec 9>>"$base/.lock"
  flock -n 9 || { sleep 1; flock -n 9; } ||
    { echo 'fail is being deployed to by someone else; wait for that to end'; return; }
  test -z "$1" || ours "$1" || { foreign "$1"; return; }
  for old in "$base"/.staging/edgekit-*; do
    test "$old" = "$d" || rm -rf "$old" # of a board that lost its power
  done
  mkdir -p "$d" && echo done || echo 'fail refuses a folder'
}

# To the card, those files alone where this `sync` can: on a busy board all of them take long.
flush() { sync "$@" 2>/dev/null || sync; }

# The one moment that counts: a rename in place of the old link. Not `ln -f`, which removes it first.
point() {
  rm -rf "$base/$1/.new" && mkdir "$base/$1/.new" && ln -s "versions/$2" "$base/$1/.new/current" &&
    mv -f "$base/$1/.new/current" "$base/$1/" || return
  rmdir "$base/$1/.new"
  flush "$base/$1" "$base/$1/versions"
  true # it has happened, and reaches the card sooner or later
}

commit() {
  ours "$1" || { foreign "$1"; return; }
  rm -rf "$base/$1/versions/$2" # of a first deploy that was cut off
  if mkdir -p "$base/$1/versions" && flush "$d"/* "$d" && mv "$d" "$base/$1/versions/$2" && d= && point "$1" "$2"; then
    echo done
    return
  fi
  rm -rf "$base/$1/versions/$2" "$base/$1/.new"
  rmdir "$base/$1/versions" "$base/$1" 2>/dev/null # of an artifact that has no version yet
  echo 'fail could not put the new version in its place; the one before still stands'
}

rollback() {
  test -d "$base/$1/versions/$2" && point "$1" "$2" && echo done || echo "fail has no version $2 of $1 any more"
}

# Of all versions keeps these two.
keep() {
  for version in "$base/$1"/versions/*; do
    case ${version##*/} in "$2" | "$3") ;; *) ! is_version "${version##*/}" || rm -rf "$version" ;; esac
  done
  echo done
}

# An artifact: its versions out of sight by renames, the link last, so that what was cut off can be done again. What is
# not of a deploy stays.
take_away() {
  ours "$1" || { foreign "$1"; return; }
  test -n "$d" || { d=$base/.staging/$name && mkdir "$d"; } # of a version that was committed before
  mkdir -p "$d/removed"
  for version in "$base/$1"/versions/*; do
    ! is_version "${version##*/}" || mv "$version" "$d/removed/" || { echo "fail could not remove $1"; return; }
  done
  rm -rf "$base/$1/current" "$base/$1/.new" "$d/removed" || { echo "fail could not remove $1"; return; }
  rmdir "$base/$1/versions" "$base/$1" 2>/dev/null
  echo done
}

while read -r verb first second third; do
  case $verb in
    lock | commit | rollback | keep | take_away) "$verb" "$first" "$second" "$third" ;;
    *) echo "fail knows no request $verb" ;;
  esac
done
