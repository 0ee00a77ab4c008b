;; What extism.go has no fast way for: Extism moves eight bytes a call, and a loop here makes these calls several times as fast as one in Go.
;; And the error of a module that has died. build.sh links this module into plugin.wasm.
(module
  (import "guest" "memory" (memory 0))
  (import "extism:host/env" "input_length" (func $input_length (result i64)))
  (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
  (import "extism:host/env" "input_load_u64" (func $input_load_u64 (param i64) (result i64)))
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/env" "error_set" (func $error_set (param i64)))

  (global $running (mut i32) (i32.const 0)) ;; whether an Extism host waits for an operation

  ;; Hosts of reactors call this, as Extism's do. system.wat has started the module by then.
  (func (export "_initialize"))

  ;; extism_fault sets the error with which the module is about to stop, in an operation that an Extism host runs. The raw path calls
  ;; nothing of Extism's.
  (func (export "extism_fault") (param $at i32) (param $size i32)
    (local $block i64)
    (if (global.get $running) (then
      (local.set $block (call $alloc (i64.extend_i32_u (local.get $size))))
      (call $write (local.get $at) (local.get $size) (local.get $block))
      (call $error_set (local.get $block)))))

  ;; extism_begin begins an operation, and gives the length of its input.
  (func (export "extism_begin") (result i64)
    (global.set $running (i32.const 1))
    (call $input_length))

  ;; extism_read copies size bytes of the input to an address, if that is not 0.
  (func (export "extism_read") (param $to i32) (param $size i32)
    (local $from i64) (local $end i64)
    (if (i32.eqz (local.get $to)) (then (return)))
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

  ;; extism_write copies size bytes to an address in Extism's memory, and ends an operation.
  (func $write (export "extism_write") (param $at i32) (param $size i32) (param $to i64)
    (local $end i64)
    (global.set $running (i32.const 0))
    (local.set $end (i64.add (local.get $to) (i64.extend_i32_u (i32.and (local.get $size) (i32.const -8)))))
    (block $rest (loop $eight
      (br_if $rest (i64.eq (local.get $to) (local.get $end)))
      (call $store_u64 (local.get $to) (i64.load (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (local.set $to (i64.add (local.get $to) (i64.const 8)))
      (br $eight)))
    (local.set $end (i64.add (local.get $to) (i64.extend_i32_u (i32.and (local.get $size) (i32.const 7)))))
    (block $done (loop $one
      (br_if $done (i64.eq (local.get $to) (local.get $end)))
      (call $store_u8 (local.get $to) (i32.load8_u (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (local.set $to (i64.add (local.get $to) (i64.const 1)))
      (br $one)))))
