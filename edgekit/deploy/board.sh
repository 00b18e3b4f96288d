# Holds an install folder of a board for one deploy: what comes goes into $base/.staging/$name, which this shell removes
# when its input ends. Requests are lines on stdin, each answered by what it prints and `done`, or by `fail CAUSE; REMEDY`.
# `name` and `base` are set before; names in requests are words without blanks.
umask 077
d=
trap 'test -z "$d" || rm -rf "$d"' EXIT
trap 'exit 1' HUP INT TERM PIPE
case $base in '~') base=$HOME ;; '~/'*) base=$HOME/${base#??} ;; esac
mkdir -p "$base/.staging" 2>/dev/null && cd "$base" && base=$(pwd -P)
mkdir "$base/.staging/$name" 2>/dev/null && d=$base/.staging/$name
printf '%s\n' "$base/.staging/$name"
uname -m
free=$(df -Pk "$base" 2>/dev/null | tail -n 1)
printf '%s\n' "${free:-unknown}"

# One deploy at a time: the kernel lets go of the lock when this shell ends, however it ends. A second look, for one that
# was just cut off.
lock() {
  test -n "$d" || { echo "fail does not let you make the folder $base; make it by hand, or name another one"; return; }
  command -v flock >/dev/null || { echo 'fail has no flock, which keeps two deploys apart; install util-linux'; return; }
  exec 9>"$base/.lock"
  flock -n 9 || { sleep 1; flock -n 9; } ||
    { echo 'fail is being deployed to by someone else; wait for that to end'; return; }
  for old in "$base"/.staging/*; do
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
    case ${version##*/} in "$2" | "$3") ;; *) rm -rf "$version" ;; esac
  done
  echo done
}

# Of an artifact or of one of its versions: out of sight in one rename, then removed.
take_away() {
  test -n "$d" || { d=$base/.staging/$name && mkdir "$d"; } # of a version that was committed before
  mv "$base/$1" "$d/removed" && rm -rf "$d/removed" && echo done || echo "fail could not remove $1"
}

while read -r verb first second third; do
  case $verb in
    lock | commit | rollback | keep | take_away) "$verb" "$first" "$second" "$third" ;;
    *) echo "fail knows no request $verb" ;;
  esac
done
