;; The module's face to Extism's hosts: an operation reads the plugin's input, and sets its output or its error. It is made of the raw
;; exports, which raw.go has.
;;
;; build.sh links this module into plugin.wasm. Extism moves eight bytes a call; a loop here makes these calls several times as fast as
;; one in Go. docs/ABI.md has what the exports mean.
(module
  (import "guest" "memory" (memory 0))
  (import "guest" "quarry_buffer" (func $buffer (param i32) (result i32)))
  (import "guest" "quarry_call" (func $call (param i32 i32) (result i32)))
  (import "guest" "quarry_output" (func $output (result i64)))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "input_load_u64" (func $input_load_u64 (param i64) (result i64)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
  (import "extism:host/env" "error_set" (func $error_set (param i64)))

  (global $running (mut i32) (i32.const 0)) ;; whether an Extism host waits for an operation

  ;; Hosts of reactors call this, as Extism's do. system.wat has started the module by then.
  (func (export "_initialize"))

  (func (export "info") (result i32) (call $run (i32.const 0)))
  (func (export "load_projection") (result i32) (call $run (i32.const 1)))
  (func (export "transform") (result i32) (call $run (i32.const 2)))
  (func (export "begin") (result i32) (call $run (i32.const 3)))
  (func (export "push") (result i32) (call $run (i32.const 4)))
  (func (export "finish") (result i32) (call $run (i32.const 5)))
  (func (export "select") (result i32) (call $run (i32.const 6)))
  (func (export "merge") (result i32) (call $run (i32.const 7)))
  (func (export "reset") (result i32) (call $run (i32.const 8)))

  ;; run runs an operation; it gives 0, or an error's number. Input that is too long for a buffer is not read: the operation refuses it
  ;; by its length.
  (func $run (param $operation i32) (result i32)
    (local $length i64) (local $size i32) (local $to i32) (local $status i32) (local $place i64) (local $at i32)
    (local.set $length (call $input_length))
    (local.set $size (select (i32.wrap_i64 (local.get $length)) (i32.const -1) (i64.le_u (local.get $length) (i64.const 0xffffffff))))
    (global.set $running (i32.const 1))
    (if (local.tee $to (call $buffer (local.get $size))) (then
      (call $read (local.get $to) (local.get $size))))
    (local.set $status (call $call (local.get $operation) (local.get $size)))
    (local.set $place (call $output))
    (global.set $running (i32.const 0))
    (local.set $at (i32.wrap_i64 (i64.shr_u (local.get $place) (i64.const 32))))
    (local.set $size (i32.wrap_i64 (local.get $place)))
    (if (local.get $status)
      (then (call $error_set (call $written (local.get $at) (local.get $size))))
      (else (call $output_set (call $written (local.get $at) (local.get $size)) (i64.extend_i32_u (local.get $size)))))
    (local.get $status))

  ;; extism_fault sets the error with which the module is about to stop, in an operation that an Extism host runs. The raw path calls
  ;; nothing of Extism's.
  (func (export "extism_fault") (param $at i32) (param $size i32)
    (if (global.get $running) (then (call $error_set (call $written (local.get $at) (local.get $size))))))

  ;; read copies size bytes of the input. There is room for a whole number of eights.
  (func $read (param $to i32) (param $size i32)
    (local $from i64) (local $end i64)
    (local.set $end (i64.extend_i32_u (i32.and (local.get $size) (i32.const -8))))
    (block $rest (loop $eight
      (br_if $rest (i64.eq (local.get $from) (local.get $end)))
      (i64.store (local.get $to) (call $input_load_u64 (local.get $from)))
      (local.set $to (i32.add (local.get $to) (i32.const 8)))
      (local.set $from (i64.add (local.get $from) (i64.const 8)))
      (br $eight)))
    (local.set $end (i64.extend_i32_u (local.get $size)))
    (block $done (loop $one
      (br_if $done (i64.eq (local.get $from) (local.get $end)))
      (i32.store8 (local.get $to) (call $input_load_u8 (local.get $from)))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (local.set $from (i64.add (local.get $from) (i64.const 1)))
      (br $one))))

  ;; written copies size bytes to Extism's memory, and gives their place there.
  (func $written (param $at i32) (param $size i32) (result i64)
    (local $block i64) (local $to i64) (local $end i64)
    (local.set $block (call $alloc (i64.extend_i32_u (local.get $size))))
    (local.set $to (local.get $block))
    (local.set $end (i64.add (local.get $to) (i64.extend_i32_u (i32.and (local.get $size) (i32.const -8)))))
    (block $rest (loop $eight
      (br_if $rest (i64.eq (local.get $to) (local.get $end)))
      (call $store_u64 (local.get $to) (i64.load (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (local.set $to (i64.add (local.get $to) (i64.const 8)))
      (br $eight)))
    (local.set $end (i64.add (local.get $block) (i64.extend_i32_u (local.get $size))))
    (block $done (loop $one
      (br_if $done (i64.eq (local.get $to) (local.get $end)))
      (call $store_u8 (local.get $to) (i32.load8_u (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (local.set $to (i64.add (local.get $to) (i64.const 1)))
      (br $one)))
    (local.get $block)))
