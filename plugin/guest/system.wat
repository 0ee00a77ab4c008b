;; What Go's runtime asks of WASI, answered inside the module: there is no argument, no environment, no file and no clock, and random
;; bytes are always the same. So the module imports none of it, runs where there is no WASI, and gives the same bytes at any time.
;;
;; build.sh links this module into plugin.wasm. It also starts Go's runtime when the module is instantiated. A function answers 0
;; where all is well, and otherwise an error's number of WASI's.
(module
  (import "guest" "memory" (memory 0))
  (import "guest" "_initialize" (func $go))
  (import "extism" "extism_fault" (func $tell (param i32 i32)))

  ;; Go puts nothing below address 12288: the linker leaves room there for arguments and the environment, which js has. The fault is
  ;; an error as docs/ABI.md has it, except for its end, until one is asked for.
  (data (i32.const 4096) "{\"code\":\"internal\",\"message\":\"the module stopped: ")
  (global $fault i32 (i32.const 4096))
  (global $line i32 (i32.const 4146))          ;; where the first line that the runtime wrote begins
  (global $end (mut i32) (i32.const 4146))     ;; and where it ends
  (global $full i32 (i32.const 4658))          ;; what does not fit is left out
  (global $closed (mut i32) (i32.const 0))     ;; whether the line has ended
  (global $now (mut i64) (i64.const 0))        ;; nanoseconds
  (global $random (mut i64) (i64.const 0))

  (start $start)
  (func $start (call $go))

  ;; quarry_fault gives address * 2^32 + length of the error with which the module stopped, 0 where it has not.
  (func $quarry_fault (export "quarry_fault") (result i64)
    (if (i32.eq (global.get $end) (global.get $line)) (then (return (i64.const 0))))
    (i32.store16 (global.get $end) (i32.const 0x7d22)) ;; "}
    (i64.or (i64.shl (i64.extend_i32_u (global.get $fault)) (i64.const 32))
      (i64.extend_i32_u (i32.sub (i32.add (global.get $end) (i32.const 2)) (global.get $fault)))))

  ;; keep adds a character to the line. What would have to be escaped in JSON becomes an apostrophe or a space.
  (func $keep (param $c i32)
    (if (i32.eq (local.get $c) (i32.const 10)) (then (call $close) (return)))
    (if (i32.or (global.get $closed) (i32.eq (global.get $end) (global.get $full))) (then (return)))
    (if (i32.or (i32.eq (local.get $c) (i32.const 0x22)) (i32.eq (local.get $c) (i32.const 0x5c))) (then (local.set $c (i32.const 0x27))))
    (if (i32.lt_u (local.get $c) (i32.const 32)) (then (local.set $c (i32.const 32))))
    (i32.store8 (global.get $end) (local.get $c))
    (global.set $end (i32.add (global.get $end) (i32.const 1))))

  ;; close ends the line, if there is one. An Extism host is told now: what follows is a trap, and not always by proc_exit.
  (func $close
    (local $place i64)
    (if (i32.or (global.get $closed) (i32.eq (global.get $end) (global.get $line))) (then (return)))
    (global.set $closed (i32.const 1))
    (local.set $place (call $quarry_fault))
    (call $tell (i32.wrap_i64 (i64.shr_u (local.get $place) (i64.const 32))) (i32.wrap_i64 (local.get $place))))

  ;; fd_write keeps the first line of all that is written, wherever to: the runtime writes only when it dies.
  (func (export "fd_write") (param $fd i32) (param $parts i32) (param $count i32) (param $written i32) (result i32)
    (local $at i32) (local $end i32) (local $total i32)
    (block $done (loop $part
      (br_if $done (i32.eqz (local.get $count)))
      (local.set $at (i32.load (local.get $parts)))
      (local.set $end (i32.add (local.get $at) (i32.load offset=4 (local.get $parts))))
      (local.set $total (i32.add (local.get $total) (i32.load offset=4 (local.get $parts))))
      (block $next (loop $byte
        (br_if $next (i32.eq (local.get $at) (local.get $end)))
        (call $keep (i32.load8_u (local.get $at)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $byte)))
      (local.set $parts (i32.add (local.get $parts) (i32.const 8)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $part)))
    (i32.store (local.get $written) (local.get $total))
    (i32.const 0))

  (func (export "proc_exit") (param $code i32) (unreachable))

  ;; The clock goes on by a microsecond whenever it is looked at, and by as long as somebody wants to wait.
  (func (export "clock_time_get") (param $clock i32) (param $precision i64) (param $to i32) (result i32)
    (global.set $now (i64.add (global.get $now) (i64.const 1000)))
    (i64.store (local.get $to) (global.get $now))
    (i32.const 0))

  ;; poll_oneoff returns at once, with no event. The runtime waits for nothing but the clock.
  (func (export "poll_oneoff") (param $for i32) (param $events i32) (param $count i32) (param $happened i32) (result i32)
    (global.set $now (i64.add (global.get $now) (i64.load offset=24 (local.get $for))))
    (i32.store (local.get $happened) (i32.const 0))
    (i32.const 0))

  (func (export "sched_yield") (result i32) (i32.const 0))

  ;; random_get writes the numbers of SplitMix64 (Steele, Lea and Flood, 2014) from seed 0, a byte of each.
  (func (export "random_get") (param $to i32) (param $n i32) (result i32)
    (local $z i64)
    (block $done (loop $next
      (br_if $done (i32.eqz (local.get $n)))
      (global.set $random (i64.add (global.get $random) (i64.const 0x9e3779b97f4a7c15)))
      (local.set $z (global.get $random))
      (local.set $z (i64.mul (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 30))) (i64.const 0xbf58476d1ce4e5b9)))
      (local.set $z (i64.mul (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 27))) (i64.const 0x94d049bb133111eb)))
      (i64.store8 (local.get $to) (i64.xor (local.get $z) (i64.shr_u (local.get $z) (i64.const 31))))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (br $next)))
    (i32.const 0))

  ;; Arguments and the environment are lists without entries.
  (func (export "args_sizes_get") (export "environ_sizes_get") (param $count i32) (param $bytes i32) (result i32)
    (i32.store (local.get $count) (i32.const 0))
    (i32.store (local.get $bytes) (i32.const 0))
    (i32.const 0))
  (func (export "args_get") (export "environ_get") (param i32 i32) (result i32) (i32.const 0))

  ;; No file is open: 8 is WASI's number for that.
  (func (export "fd_close") (param i32) (result i32) (i32.const 8))
  (func (export "fd_fdstat_get") (export "fd_fdstat_set_flags") (export "fd_prestat_get") (param i32 i32) (result i32) (i32.const 8))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (i32.const 8)))
