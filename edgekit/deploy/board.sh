# Holds an install folder of a board for one deploy: what comes goes into $base/.staging/$name, which this shell removes
# when its input ends, and then says `gone`. Requests are lines on stdin, each answered by what it prints and `done`. A
# request that changed nothing that counts says `not CAUSE; REMEDY` before, one that was not tried `fail CAUSE; REMEDY`.
# `name` and `base` are set before; names in requests are words without blanks.
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
mkdir -p "$base" 2>/dev/null && cd "$base" && base=$(pwd -P)
test ! -L "$base/.staging" && mkdir -p "$base/.staging" 2>/dev/null && mkdir "$base/.staging/$name" 2>/dev/null &&
  d=$base/.staging/$name
printf '%s\n' "$base/.staging/$name"
uname -m
free=$(df -Pk "$base" 2>/dev/null | tail -n 1)
printf '%s\n' "${free:-unknown}"

is_version() {
  printf '%s\n' "$1" | grep -Eqx '[0-9]{4,9}-[0-9a-f]{12}'
}
# Whether a version is current; asked of the kernel, so that no program that fails can make it look like another one.
is_current() {
  test "$base/$1/current" -ef "$base/$1/versions/$2"
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
refuse() {
  echo "not $1"
  echo done
}

# Removes a version, whatever it is, unless it is current.
drop() {
  ! is_version "$2" || is_current "$1" "$2" || rm -rf "$base/$1/versions/$2"
}

# One deploy at a time: the kernel lets go of the lock when this shell ends, however it ends. A second look, for one that
# was just cut off. With a name, that of an artifact to come, whose leavings are cleared away: a link to be renamed, and
# versions that were never accepted.
lock() {
  test ! -L "$base/.staging" || { echo "fail has a link at $base/.staging; move it away"; return; }
  test -n "$d" || { echo "fail does not let you make the folder $base; make it by hand, or name another one"; return; }
  command -v flock >/dev/null || { echo 'fail has no flock, which keeps two deploys apart; install util-linux'; return; }
  test ! -L "$base/.lock" && { test -f "$base/.lock" || test ! -e "$base/.lock"; } ||
    { echo "fail has no plain file at $base/.lock; move away what is there"; return; }
  { true >>"$base/.lock"; } 2>/dev/null || { echo "fail does not let you write $base/.lock; mend its mode"; return; }
  exec 9>>"$base/.lock"
  flock -n 9 || { sleep 1; flock -n 9; } ||
    { echo 'fail is being deployed to by someone else; wait for that to end'; return; }
  for old in "$base"/.staging/edgekit-*; do # of a board that lost its power
    test "$old" = "$d" || ! printf '%s\n' "${old##*/}" | grep -Eqx 'edgekit-[0-9a-f]{16}' || rm -rf "$old"
  done
  mkdir -p "$d" || { echo 'fail refuses a folder'; return; }
  if test -n "$1"; then
    ours "$1" || { foreign "$1"; return; }
    rm -rf "$base/$1/.new"
    for version in "$base/$1"/versions/*; do
      test ! -e "$version/unproven" || drop "$1" "${version##*/}"
    done
  fi
  echo done
}

# To the card, those files alone where this `sync` can: on a busy board all of them take long.
flush() { sync "$@" 2>/dev/null || sync; }

# The one moment that counts: a rename in place of the old link. Not `ln -f`, which removes it first. What the kernel then
# says is the answer, and not what `mv` says.
point() {
  rm -rf "$base/$1/.new" && mkdir "$base/$1/.new" && ln -s "versions/$2" "$base/$1/.new/current" &&
    mv -f "$base/$1/.new/current" "$base/$1/"
  is_current "$1" "$2" || return
  rm -rf "$base/$1/.new"
  flush "$base/$1" "$base/$1/versions"
  true # it has happened, and reaches the card sooner or later
}

# A version comes as one that nobody has accepted yet.
commit() {
  ours "$1" || { foreign "$1"; return; }
  test ! -e "$base/$1/versions/$2" || { refuse "has a version $2 already; try again"; return; }
  if true >"$d/unproven" && mkdir -p "$base/$1/versions" && flush "$d"/* "$d" && mv "$d" "$base/$1/versions/$2" && d= &&
    point "$1" "$2"; then
    echo done
    return
  fi
  rm -rf "$base/$1/.new"
  drop "$1" "$2"
  rmdir "$base/$1/versions" "$base/$1" 2>/dev/null # of an artifact that has no version yet
  refuse 'could not put the new version in its place; the one before still stands'
}

# The current version is accepted; of all others one is kept.
accept() {
  is_current "$1" "$2" && rm -f "$base/$1/versions/$2/unproven" && flush "$base/$1/versions/$2" ||
    { refuse "could not accept $2; the same command goes on"; return; }
  for version in "$base/$1"/versions/*; do
    case ${version##*/} in "$2" | "$3") ;; *) drop "$1" "${version##*/}" ;; esac
  done
  echo done
}

# From a version that failed to the one before it, `-` for none; the one that failed goes.
back() {
  if test "$2" = -; then
    ! is_current "$1" "$3" || rm -f "$base/$1/current"
  else
    test -d "$base/$1/versions/$2" && point "$1" "$2"
  fi
  ! is_current "$1" "$3" || { refuse "could not go back from $3; mend what its messages say"; return; }
  test ! -e "$base/$1/versions/$3/unproven" || drop "$1" "$3"
  rmdir "$base/$1/versions" "$base/$1" 2>/dev/null
  echo done
}

rollback() {
  test -d "$base/$1/versions/$2" || { refuse "has no version $2 of $1 any more"; return; }
  point "$1" "$2" && echo done || refuse "could not make $2 current; what was current still is"
}

# What a version says of itself, from the staging folder.
describe() {
  flush "$d/deployed.json" && mv -f "$d/deployed.json" "$base/$1/versions/$2/" ||
    { refuse "could not write down what $2 is; the same command goes on"; return; }
  flush "$base/$1/versions/$2"
  echo done
}

# An artifact: what is not current first, then the link, then what it led to, so that no link leads nowhere, and what was
# cut off can be done again. What is not of a deploy stays.
take_away() {
  ours "$1" || { foreign "$1"; return; }
  mkdir -p "$d/removed"
  for last in '' yes; do
    test -z "$last" || rm -rf "$base/$1/current" "$base/$1/.new"
    for version in "$base/$1"/versions/*; do
      ! is_version "${version##*/}" || is_current "$1" "${version##*/}" || mv "$version" "$d/removed/" ||
        { refuse "could not remove all of $1; the same command goes on"; return; }
    done
  done
  ! test -L "$base/$1/current" || { refuse "could not remove all of $1; the same command goes on"; return; }
  rm -rf "$d/removed"
  rmdir "$base/$1/versions" "$base/$1" 2>/dev/null
  echo done
}

while read -r verb first second third; do
  case $verb in
    lock | commit | accept | back | rollback | describe | take_away) "$verb" "$first" "$second" "$third" ;;
    *) echo "fail knows no request $verb" ;;
  esac
done
