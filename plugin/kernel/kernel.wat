;; The inner loops with 128-bit SIMD: the matrix products of projecting, screening and fitting, and loops over single
;; vectors.
;;
;; build.sh links this module into plugin.wasm. It works in the Go module's memory, on addresses that
;; linked_wasip1.go and linked_loops_wasip1.go hand it; nothing outside can call it. Sizes and strides are in
;; bytes unless said otherwise. Values are float32 unless said otherwise.
;;
;; A panel is 16 kept rows, interleaved: column c of row r is at (c*16 + r)*4. Splats are pairs of streaming rows with
;; every value four times: column c of row r of a pair is at (c*2 + r)*16. A tile is a panel times a pair: 32 sums in
;; eight registers. Each sum is formed in ascending order of columns, by a multiplication and then an addition, never
;; fused. Lanes are kept rows, so no sum is ever folded across lanes.
(module
  (import "guest" "memory" (memory 0))

  ;; lanes is how many values an instruction takes.
  (func (export "kernel_lanes") (result i32) (i32.const 4))

  ;; splat lays out rows of columns values for a tile. Rows are row bytes apart, and columns are column bytes apart. Where
  ;; the number of rows is odd, the last pair is the last row twice.
  ;;
  ;;   for i := 0; i < rows; i += 2 {
  ;;     for c := range columns {
  ;;       dst[i/2][c] = {x[i][c] four times, x[min(i+1, rows-1)][c] four times}
  ;;     }
  ;;   }
  (func (export "kernel_splat") (param $dst i32) (param $x i32) (param $row i32) (param $column i32) (param $rows i32) (param $columns i32)
    (local $u i32) (local $v i32) (local $n i32)
    (loop $pair
      (local.set $u (local.get $x))
      (local.set $v (local.get $x))
      (if (i32.gt_s (local.get $rows) (i32.const 1))
        (then (local.set $v (i32.add (local.get $x) (local.get $row)))))
      (local.set $n (local.get $columns))
      (loop $next
        (v128.store (local.get $dst) (v128.load32_splat (local.get $u)))
        (v128.store offset=16 (local.get $dst) (v128.load32_splat (local.get $v)))
        (local.set $u (i32.add (local.get $u) (local.get $column)))
        (local.set $v (i32.add (local.get $v) (local.get $column)))
        (local.set $dst (i32.add (local.get $dst) (i32.const 32)))
        (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
      (local.set $x (i32.add (local.get $x) (i32.shl (local.get $row) (i32.const 1))))
      (br_if $pair (i32.gt_s (local.tee $rows (i32.sub (local.get $rows) (i32.const 2))) (i32.const 0)))))

  ;; tile multiplies the panel at q with the pair at s, over n > 0 columns. It writes 16 sums to out0 and 16 to out1. With
  ;; more it goes on from the sums that are there. Where out0 is out1, the pair is one row twice.
  (func $tile (param $q i32) (param $s i32) (param $n i32) (param $out0 i32) (param $out1 i32) (param $more i32)
    (local $a0 v128) (local $a1 v128) (local $a2 v128) (local $a3 v128)
    (local $b0 v128) (local $b1 v128) (local $b2 v128) (local $b3 v128)
    (local $x v128) (local $y v128) (local $p v128)
    (if (local.get $more) (then
      (local.set $a0 (v128.load offset=0 (local.get $out0)))
      (local.set $b0 (v128.load offset=0 (local.get $out1)))
      (local.set $a1 (v128.load offset=16 (local.get $out0)))
      (local.set $b1 (v128.load offset=16 (local.get $out1)))
      (local.set $a2 (v128.load offset=32 (local.get $out0)))
      (local.set $b2 (v128.load offset=32 (local.get $out1)))
      (local.set $a3 (v128.load offset=48 (local.get $out0)))
      (local.set $b3 (v128.load offset=48 (local.get $out1)))))
    (block $rest
      (br_if $rest (i32.lt_u (local.get $n) (i32.const 4)))
      (loop $four
        ;; The largest offsets first: one bounds check then serves all.
        (drop (i32.load8_u offset=255 (local.get $q)))
        (drop (i32.load8_u offset=127 (local.get $s)))
        ;; column 0
        (local.set $x (v128.load offset=0 (local.get $s)))
        (local.set $y (v128.load offset=16 (local.get $s)))
        (local.set $p (v128.load offset=0 (local.get $q)))
        (local.set $a0 (f32x4.add (local.get $a0) (f32x4.mul (local.get $x) (local.get $p))))
        (local.set $b0 (f32x4.add (local.get $b0) (f32x4.mul (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=16 (local.get $q)))
        (local.set $a1 (f32x4.add (local.get $a1) (f32x4.mul (local.get $x) (local.get $p))))
        (local.set $b1 (f32x4.add (local.get $b1) (f32x4.mul (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=32 (local.get $q)))
        (local.set $a2 (f32x4.add (local.get $a2) (f32x4.mul (local.get $x) (local.get $p))))
        (local.set $b2 (f32x4.add (local.get $b2) (f32x4.mul (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=48 (local.get $q)))
        (local.set $a3 (f32x4.add (local.get $a3) (f32x4.mul (local.get $x) (local.get $p))))
        (local.set $b3 (f32x4.add (local.get $b3) (f32x4.mul (local.get $y) (local.get $p))))
        ;; column 1
        (local.set $x (v128.load offset=32 (local.get $s)))
        (local.set $y (v128.load offset=48 (local.get $s)))
        (local.set $p (v128.load offset=64 (local.get $q)))
        (local.set $a0 (f32x4.add (local.get $a0) (f32x4.mul (local.get $x) (local.get $p))))
        (local.set $b0 (f32x4.add (local.get $b0) (f32x4.mul (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=80 (local.get $q)))
        (local.set $a1 (f32x4.add (local.get $a1) (f32x4.mul (local.get $x) (local.get $p))))
        (local.set $b1 (f32x4.add (local.get $b1) (f32x4.mul (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=96 (local.get $q)))
        (local.set $a2 (f32x4.add (local.get $a2) (f32x4.mul (local.get $x) (local.get $p))))
        (local.set $b2 (f32x4.add (local.get $b2) (f32x4.mul (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=112 (local.get $q)))
        (local.set $a3 (f32x4.add (local.get $a3) (f32x4.mul (local.get $x) (local.get $p))))
        (local.set $b3 (f32x4.add (local.get $b3) (f32x4.mul (local.get $y) (local.get $p))))
        ;; column 2
        (local.set $x (v128.load offset=64 (local.get $s)))
        (local.set $y (v128.load offset=80 (local.get $s)))
        (local.set $p (v128.load offset=128 (local.get $q)))
        (local.set $a0 (f32x4.add (local.get $a0) (f32x4.mul (local.get $x) (local.get $p))))
        (local.set $b0 (f32x4.add (local.get $b0) (f32x4.mul (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=144 (local.get $q)))
        (local.set $a1 (f32x4.add (local.get $a1) (f32x4.mul (local.get $x) (local.get $p))))
        (local.set $b1 (f32x4.add (local.get $b1) (f32x4.mul (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=160 (local.get $q)))
        (local.set $a2 (f32x4.add (local.get $a2) (f32x4.mul (local.get $x) (local.get $p))))
        (local.set $b2 (f32x4.add (local.get $b2) (f32x4.mul (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=176 (local.get $q)))
        (local.set $a3 (f32x4.add (local.get $a3) (f32x4.mul (local.get $x) (local.get $p))))
        (local.set $b3 (f32x4.add (local.get $b3) (f32x4.mul (local.get $y) (local.get $p))))
        ;; column 3
        (local.set $x (v128.load offset=96 (local.get $s)))
        (local.set $y (v128.load offset=112 (local.get $s)))
        (local.set $p (v128.load offset=192 (local.get $q)))
        (local.set $a0 (f32x4.add (local.get $a0) (f32x4.mul (local.get $x) (local.get $p))))
        (local.set $b0 (f32x4.add (local.get $b0) (f32x4.mul (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=208 (local.get $q)))
        (local.set $a1 (f32x4.add (local.get $a1) (f32x4.mul (local.get $x) (local.get $p))))
        (local.set $b1 (f32x4.add (local.get $b1) (f32x4.mul (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=224 (local.get $q)))
        (local.set $a2 (f32x4.add (local.get $a2) (f32x4.mul (local.get $x) (local.get $p))))
        (local.set $b2 (f32x4.add (local.get $b2) (f32x4.mul (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=240 (local.get $q)))
        (local.set $a3 (f32x4.add (local.get $a3) (f32x4.mul (local.get $x) (local.get $p))))
        (local.set $b3 (f32x4.add (local.get $b3) (f32x4.mul (local.get $y) (local.get $p))))
        (local.set $q (i32.add (local.get $q) (i32.const 256)))
        (local.set $s (i32.add (local.get $s) (i32.const 128)))
        (local.set $n (i32.sub (local.get $n) (i32.const 4)))
        (br_if $four (i32.ge_u (local.get $n) (i32.const 4)))))
    (block $done
      (br_if $done (i32.eqz (local.get $n)))
      (loop $one
        (local.set $x (v128.load offset=0 (local.get $s)))
        (local.set $y (v128.load offset=16 (local.get $s)))
        (local.set $p (v128.load offset=0 (local.get $q)))
        (local.set $a0 (f32x4.add (local.get $a0) (f32x4.mul (local.get $x) (local.get $p))))
        (local.set $b0 (f32x4.add (local.get $b0) (f32x4.mul (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=16 (local.get $q)))
        (local.set $a1 (f32x4.add (local.get $a1) (f32x4.mul (local.get $x) (local.get $p))))
        (local.set $b1 (f32x4.add (local.get $b1) (f32x4.mul (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=32 (local.get $q)))
        (local.set $a2 (f32x4.add (local.get $a2) (f32x4.mul (local.get $x) (local.get $p))))
        (local.set $b2 (f32x4.add (local.get $b2) (f32x4.mul (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=48 (local.get $q)))
        (local.set $a3 (f32x4.add (local.get $a3) (f32x4.mul (local.get $x) (local.get $p))))
        (local.set $b3 (f32x4.add (local.get $b3) (f32x4.mul (local.get $y) (local.get $p))))
        (local.set $q (i32.add (local.get $q) (i32.const 64)))
        (local.set $s (i32.add (local.get $s) (i32.const 32)))
        (br_if $one (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (v128.store offset=0 (local.get $out1) (local.get $b0))
    (v128.store offset=0 (local.get $out0) (local.get $a0))
    (v128.store offset=16 (local.get $out1) (local.get $b1))
    (v128.store offset=16 (local.get $out0) (local.get $a1))
    (v128.store offset=32 (local.get $out1) (local.get $b2))
    (v128.store offset=32 (local.get $out0) (local.get $a2))
    (v128.store offset=48 (local.get $out1) (local.get $b3))
    (v128.store offset=48 (local.get $out0) (local.get $a3)))

  ;; multiply multiplies panels, stride apart, with rows that are splatted. It writes 16 sums for each panel and row. The
  ;; sums of a row lie sums_row after those of the row before; those of a panel lie sums_panel after those of the panel
  ;; before. With more it adds to the sums that are there. Fits call it.
  ;;
  ;;   for i := range rows {
  ;;     for j := range 16 * panels {
  ;;       for c := range columns {
  ;;         sums[i][j] += float32(x[i][c] * kept[j][c])
  ;;       }
  ;;     }
  ;;   }
  (func (export "kernel_multiply") (param $sums i32) (param $sums_row i32) (param $sums_panel i32) (param $q i32) (param $stride i32) (param $panels i32)
    (param $splats i32) (param $rows i32) (param $columns i32) (param $more i32)
    (local $s i32) (local $i i32) (local $out i32)
    (loop $panel
      (local.set $s (local.get $splats))
      (local.set $out (local.get $sums))
      (local.set $i (local.get $rows))
      (loop $pair
        (call $tile (local.get $q) (local.get $s) (local.get $columns) (local.get $out)
          (select (i32.add (local.get $out) (local.get $sums_row)) (local.get $out) (i32.gt_s (local.get $i) (i32.const 1)))
          (local.get $more))
        (local.set $s (i32.add (local.get $s) (i32.shl (local.get $columns) (i32.const 5))))
        (local.set $out (i32.add (local.get $out) (i32.shl (local.get $sums_row) (i32.const 1))))
        (br_if $pair (i32.gt_s (local.tee $i (i32.sub (local.get $i) (i32.const 2))) (i32.const 0))))
      (local.set $q (i32.add (local.get $q) (local.get $stride)))
      (local.set $sums (i32.add (local.get $sums) (local.get $sums_panel)))
      (br_if $panel (local.tee $panels (i32.sub (local.get $panels) (i32.const 1))))))

  ;; tile16 is tile for words that are pairs of 16-bit numbers. Its sums are 32-bit.
  (func $tile16 (param $q i32) (param $s i32) (param $n i32) (param $out0 i32) (param $out1 i32) (param $more i32)
    (local $a0 v128) (local $a1 v128) (local $a2 v128) (local $a3 v128)
    (local $b0 v128) (local $b1 v128) (local $b2 v128) (local $b3 v128)
    (local $x v128) (local $y v128) (local $p v128)
    (if (local.get $more) (then
      (local.set $a0 (v128.load offset=0 (local.get $out0)))
      (local.set $b0 (v128.load offset=0 (local.get $out1)))
      (local.set $a1 (v128.load offset=16 (local.get $out0)))
      (local.set $b1 (v128.load offset=16 (local.get $out1)))
      (local.set $a2 (v128.load offset=32 (local.get $out0)))
      (local.set $b2 (v128.load offset=32 (local.get $out1)))
      (local.set $a3 (v128.load offset=48 (local.get $out0)))
      (local.set $b3 (v128.load offset=48 (local.get $out1)))))
    (block $rest
      (br_if $rest (i32.lt_u (local.get $n) (i32.const 4)))
      (loop $four
        ;; The largest offsets first: one bounds check then serves all.
        (drop (i32.load8_u offset=255 (local.get $q)))
        (drop (i32.load8_u offset=127 (local.get $s)))
        ;; column 0
        (local.set $x (v128.load offset=0 (local.get $s)))
        (local.set $y (v128.load offset=16 (local.get $s)))
        (local.set $p (v128.load offset=0 (local.get $q)))
        (local.set $a0 (i32x4.add (local.get $a0) (i32x4.dot_i16x8_s (local.get $x) (local.get $p))))
        (local.set $b0 (i32x4.add (local.get $b0) (i32x4.dot_i16x8_s (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=16 (local.get $q)))
        (local.set $a1 (i32x4.add (local.get $a1) (i32x4.dot_i16x8_s (local.get $x) (local.get $p))))
        (local.set $b1 (i32x4.add (local.get $b1) (i32x4.dot_i16x8_s (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=32 (local.get $q)))
        (local.set $a2 (i32x4.add (local.get $a2) (i32x4.dot_i16x8_s (local.get $x) (local.get $p))))
        (local.set $b2 (i32x4.add (local.get $b2) (i32x4.dot_i16x8_s (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=48 (local.get $q)))
        (local.set $a3 (i32x4.add (local.get $a3) (i32x4.dot_i16x8_s (local.get $x) (local.get $p))))
        (local.set $b3 (i32x4.add (local.get $b3) (i32x4.dot_i16x8_s (local.get $y) (local.get $p))))
        ;; column 1
        (local.set $x (v128.load offset=32 (local.get $s)))
        (local.set $y (v128.load offset=48 (local.get $s)))
        (local.set $p (v128.load offset=64 (local.get $q)))
        (local.set $a0 (i32x4.add (local.get $a0) (i32x4.dot_i16x8_s (local.get $x) (local.get $p))))
        (local.set $b0 (i32x4.add (local.get $b0) (i32x4.dot_i16x8_s (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=80 (local.get $q)))
        (local.set $a1 (i32x4.add (local.get $a1) (i32x4.dot_i16x8_s (local.get $x) (local.get $p))))
        (local.set $b1 (i32x4.add (local.get $b1) (i32x4.dot_i16x8_s (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=96 (local.get $q)))
        (local.set $a2 (i32x4.add (local.get $a2) (i32x4.dot_i16x8_s (local.get $x) (local.get $p))))
        (local.set $b2 (i32x4.add (local.get $b2) (i32x4.dot_i16x8_s (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=112 (local.get $q)))
        (local.set $a3 (i32x4.add (local.get $a3) (i32x4.dot_i16x8_s (local.get $x) (local.get $p))))
        (local.set $b3 (i32x4.add (local.get $b3) (i32x4.dot_i16x8_s (local.get $y) (local.get $p))))
        ;; column 2
        (local.set $x (v128.load offset=64 (local.get $s)))
        (local.set $y (v128.load offset=80 (local.get $s)))
        (local.set $p (v128.load offset=128 (local.get $q)))
        (local.set $a0 (i32x4.add (local.get $a0) (i32x4.dot_i16x8_s (local.get $x) (local.get $p))))
        (local.set $b0 (i32x4.add (local.get $b0) (i32x4.dot_i16x8_s (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=144 (local.get $q)))
        (local.set $a1 (i32x4.add (local.get $a1) (i32x4.dot_i16x8_s (local.get $x) (local.get $p))))
        (local.set $b1 (i32x4.add (local.get $b1) (i32x4.dot_i16x8_s (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=160 (local.get $q)))
        (local.set $a2 (i32x4.add (local.get $a2) (i32x4.dot_i16x8_s (local.get $x) (local.get $p))))
        (local.set $b2 (i32x4.add (local.get $b2) (i32x4.dot_i16x8_s (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=176 (local.get $q)))
        (local.set $a3 (i32x4.add (local.get $a3) (i32x4.dot_i16x8_s (local.get $x) (local.get $p))))
        (local.set $b3 (i32x4.add (local.get $b3) (i32x4.dot_i16x8_s (local.get $y) (local.get $p))))
        ;; column 3
        (local.set $x (v128.load offset=96 (local.get $s)))
        (local.set $y (v128.load offset=112 (local.get $s)))
        (local.set $p (v128.load offset=192 (local.get $q)))
        (local.set $a0 (i32x4.add (local.get $a0) (i32x4.dot_i16x8_s (local.get $x) (local.get $p))))
        (local.set $b0 (i32x4.add (local.get $b0) (i32x4.dot_i16x8_s (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=208 (local.get $q)))
        (local.set $a1 (i32x4.add (local.get $a1) (i32x4.dot_i16x8_s (local.get $x) (local.get $p))))
        (local.set $b1 (i32x4.add (local.get $b1) (i32x4.dot_i16x8_s (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=224 (local.get $q)))
        (local.set $a2 (i32x4.add (local.get $a2) (i32x4.dot_i16x8_s (local.get $x) (local.get $p))))
        (local.set $b2 (i32x4.add (local.get $b2) (i32x4.dot_i16x8_s (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=240 (local.get $q)))
        (local.set $a3 (i32x4.add (local.get $a3) (i32x4.dot_i16x8_s (local.get $x) (local.get $p))))
        (local.set $b3 (i32x4.add (local.get $b3) (i32x4.dot_i16x8_s (local.get $y) (local.get $p))))
        (local.set $q (i32.add (local.get $q) (i32.const 256)))
        (local.set $s (i32.add (local.get $s) (i32.const 128)))
        (local.set $n (i32.sub (local.get $n) (i32.const 4)))
        (br_if $four (i32.ge_u (local.get $n) (i32.const 4)))))
    (block $done
      (br_if $done (i32.eqz (local.get $n)))
      (loop $one
        (local.set $x (v128.load offset=0 (local.get $s)))
        (local.set $y (v128.load offset=16 (local.get $s)))
        (local.set $p (v128.load offset=0 (local.get $q)))
        (local.set $a0 (i32x4.add (local.get $a0) (i32x4.dot_i16x8_s (local.get $x) (local.get $p))))
        (local.set $b0 (i32x4.add (local.get $b0) (i32x4.dot_i16x8_s (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=16 (local.get $q)))
        (local.set $a1 (i32x4.add (local.get $a1) (i32x4.dot_i16x8_s (local.get $x) (local.get $p))))
        (local.set $b1 (i32x4.add (local.get $b1) (i32x4.dot_i16x8_s (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=32 (local.get $q)))
        (local.set $a2 (i32x4.add (local.get $a2) (i32x4.dot_i16x8_s (local.get $x) (local.get $p))))
        (local.set $b2 (i32x4.add (local.get $b2) (i32x4.dot_i16x8_s (local.get $y) (local.get $p))))
        (local.set $p (v128.load offset=48 (local.get $q)))
        (local.set $a3 (i32x4.add (local.get $a3) (i32x4.dot_i16x8_s (local.get $x) (local.get $p))))
        (local.set $b3 (i32x4.add (local.get $b3) (i32x4.dot_i16x8_s (local.get $y) (local.get $p))))
        (local.set $q (i32.add (local.get $q) (i32.const 64)))
        (local.set $s (i32.add (local.get $s) (i32.const 32)))
        (br_if $one (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (v128.store offset=0 (local.get $out1) (local.get $b0))
    (v128.store offset=0 (local.get $out0) (local.get $a0))
    (v128.store offset=16 (local.get $out1) (local.get $b1))
    (v128.store offset=16 (local.get $out0) (local.get $a1))
    (v128.store offset=32 (local.get $out1) (local.get $b2))
    (v128.store offset=32 (local.get $out0) (local.get $a2))
    (v128.store offset=48 (local.get $out1) (local.get $b3))
    (v128.store offset=48 (local.get $out0) (local.get $a3)))

  ;; screen16 is multiply for words that are pairs of 16-bit numbers: where multiply takes a column, it takes a pair. Its
  ;; sums are 32-bit, and exact unless they overflow. Screening calls it.
  ;;
  ;;   sums[i][j] += int32(x[i][2*c]) * int32(kept[j][2*c]) + int32(x[i][2*c+1]) * int32(kept[j][2*c+1])
  (func (export "kernel_screen16") (param $sums i32) (param $sums_row i32) (param $sums_panel i32) (param $q i32) (param $stride i32) (param $panels i32)
    (param $splats i32) (param $rows i32) (param $columns i32) (param $more i32)
    (local $s i32) (local $i i32) (local $out i32)
    (loop $panel
      (local.set $s (local.get $splats))
      (local.set $out (local.get $sums))
      (local.set $i (local.get $rows))
      (loop $pair
        (call $tile16 (local.get $q) (local.get $s) (local.get $columns) (local.get $out)
          (select (i32.add (local.get $out) (local.get $sums_row)) (local.get $out) (i32.gt_s (local.get $i) (i32.const 1)))
          (local.get $more))
        (local.set $s (i32.add (local.get $s) (i32.shl (local.get $columns) (i32.const 5))))
        (local.set $out (i32.add (local.get $out) (i32.shl (local.get $sums_row) (i32.const 1))))
        (br_if $pair (i32.gt_s (local.tee $i (i32.sub (local.get $i) (i32.const 2))) (i32.const 0))))
      (local.set $q (i32.add (local.get $q) (local.get $stride)))
      (local.set $sums (i32.add (local.get $sums) (local.get $sums_panel)))
      (br_if $panel (local.tee $panels (i32.sub (local.get $panels) (i32.const 1))))))

  ;; project multiplies as multiply does, over one block of columns, and adds the sums to float64 totals. Rows of totals are
  ;; totals_row apart. sums is room for one tile, 128 bytes.
  ;;
  ;;   for i := range rows {
  ;;     for j := range 16 * panels {
  ;;       s := float32(0)
  ;;       for c := range columns {
  ;;         s += float32(x[i][c] * kept[j][c])
  ;;       }
  ;;       totals[i][j] += float64(s)
  ;;     }
  ;;   }
  (func (export "kernel_project") (param $totals i32) (param $totals_row i32) (param $q i32) (param $stride i32) (param $panels i32)
    (param $splats i32) (param $rows i32) (param $columns i32) (param $sums i32)
    (local $s i32) (local $i i32) (local $out i32)
    (loop $panel
      (local.set $s (local.get $splats))
      (local.set $out (local.get $totals))
      (local.set $i (local.get $rows))
      (loop $pair
        (call $tile (local.get $q) (local.get $s) (local.get $columns) (local.get $sums)
          (i32.add (local.get $sums) (i32.const 64)) (i32.const 0))
        (call $fold (local.get $out) (local.get $sums))
        (if (i32.gt_s (local.get $i) (i32.const 1)) (then
          (call $fold (i32.add (local.get $out) (local.get $totals_row)) (i32.add (local.get $sums) (i32.const 64)))))
        (local.set $s (i32.add (local.get $s) (i32.shl (local.get $columns) (i32.const 5))))
        (local.set $out (i32.add (local.get $out) (i32.shl (local.get $totals_row) (i32.const 1))))
        (br_if $pair (i32.gt_s (local.tee $i (i32.sub (local.get $i) (i32.const 2))) (i32.const 0))))
      (local.set $q (i32.add (local.get $q) (local.get $stride)))
      (local.set $totals (i32.add (local.get $totals) (i32.const 128)))
      (br_if $panel (local.tee $panels (i32.sub (local.get $panels) (i32.const 1))))))

  ;; fold adds 16 sums to 16 float64 totals.
  (func $fold (param $totals i32) (param $sums i32)
    (v128.store offset=0 (local.get $totals)
      (f64x2.add (v128.load offset=0 (local.get $totals)) (f64x2.promote_low_f32x4 (v128.load64_zero offset=0 (local.get $sums)))))
    (v128.store offset=16 (local.get $totals)
      (f64x2.add (v128.load offset=16 (local.get $totals)) (f64x2.promote_low_f32x4 (v128.load64_zero offset=8 (local.get $sums)))))
    (v128.store offset=32 (local.get $totals)
      (f64x2.add (v128.load offset=32 (local.get $totals)) (f64x2.promote_low_f32x4 (v128.load64_zero offset=16 (local.get $sums)))))
    (v128.store offset=48 (local.get $totals)
      (f64x2.add (v128.load offset=48 (local.get $totals)) (f64x2.promote_low_f32x4 (v128.load64_zero offset=24 (local.get $sums)))))
    (v128.store offset=64 (local.get $totals)
      (f64x2.add (v128.load offset=64 (local.get $totals)) (f64x2.promote_low_f32x4 (v128.load64_zero offset=32 (local.get $sums)))))
    (v128.store offset=80 (local.get $totals)
      (f64x2.add (v128.load offset=80 (local.get $totals)) (f64x2.promote_low_f32x4 (v128.load64_zero offset=40 (local.get $sums)))))
    (v128.store offset=96 (local.get $totals)
      (f64x2.add (v128.load offset=96 (local.get $totals)) (f64x2.promote_low_f32x4 (v128.load64_zero offset=48 (local.get $sums)))))
    (v128.store offset=112 (local.get $totals)
      (f64x2.add (v128.load offset=112 (local.get $totals)) (f64x2.promote_low_f32x4 (v128.load64_zero offset=56 (local.get $sums))))))

  ;; dot adds n products, a multiple of 8, and then eight more of last_a and last_b, to eight sums. Product i goes to sum
  ;; i mod 8.
  ;;
  ;;   for i := range n {
  ;;     r[i%8] += float64(a[i]) * float64(b[i])
  ;;   }
  ;;   for i := range 8 {
  ;;     r[i] += float64(last_a[i]) * float64(last_b[i])
  ;;   }
  ;;   return ((r[0] + r[4]) + (r[2] + r[6])) + ((r[1] + r[5]) + (r[3] + r[7]))
  (func (export "kernel_dot") (param $a i32) (param $b i32) (param $last_a i32) (param $last_b i32) (param $n i32) (result f64)
    (local $r01 v128) (local $r23 v128) (local $r45 v128) (local $r67 v128)
    (block $done
      (loop $eight
        (if (i32.eqz (local.get $n)) (then
          (local.set $a (local.get $last_a))
          (local.set $b (local.get $last_b))))
        ;; Two values at a time, straight from memory: that spares a shuffle.
        (drop (i32.load8_u offset=31 (local.get $a)))
        (drop (i32.load8_u offset=31 (local.get $b)))
        (local.set $r01 (f64x2.add (local.get $r01)
          (f64x2.mul (f64x2.promote_low_f32x4 (v128.load64_zero offset=0 (local.get $a))) (f64x2.promote_low_f32x4 (v128.load64_zero offset=0 (local.get $b))))))
        (local.set $r23 (f64x2.add (local.get $r23)
          (f64x2.mul (f64x2.promote_low_f32x4 (v128.load64_zero offset=8 (local.get $a))) (f64x2.promote_low_f32x4 (v128.load64_zero offset=8 (local.get $b))))))
        (local.set $r45 (f64x2.add (local.get $r45)
          (f64x2.mul (f64x2.promote_low_f32x4 (v128.load64_zero offset=16 (local.get $a))) (f64x2.promote_low_f32x4 (v128.load64_zero offset=16 (local.get $b))))))
        (local.set $r67 (f64x2.add (local.get $r67)
          (f64x2.mul (f64x2.promote_low_f32x4 (v128.load64_zero offset=24 (local.get $a))) (f64x2.promote_low_f32x4 (v128.load64_zero offset=24 (local.get $b))))))
        (br_if $done (i32.eqz (local.get $n)))
        (local.set $n (i32.sub (local.get $n) (i32.const 8)))
        (local.set $a (i32.add (local.get $a) (i32.const 32)))
        (local.set $b (i32.add (local.get $b) (i32.const 32)))
        (br $eight)))
    (local.set $r01 (f64x2.add (f64x2.add (local.get $r01) (local.get $r45)) (f64x2.add (local.get $r23) (local.get $r67))))
    (f64.add (f64x2.extract_lane 0 (local.get $r01)) (f64x2.extract_lane 1 (local.get $r01))))

  ;; The rest works on n values, a multiple of 4 above 0.

  ;; scale: dst[i] = float32(float64(x[i]) * by)
  (func (export "kernel_scale") (param $dst i32) (param $x i32) (param $n i32) (param $by f64)
    (local $s v128)
    (local.set $s (f64x2.splat (local.get $by)))
    (loop $four
      (v128.store (local.get $dst) (i8x16.shuffle 0 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23
        (f32x4.demote_f64x2_zero (f64x2.mul (f64x2.promote_low_f32x4 (v128.load64_zero offset=0 (local.get $x))) (local.get $s)))
        (f32x4.demote_f64x2_zero (f64x2.mul (f64x2.promote_low_f32x4 (v128.load64_zero offset=8 (local.get $x))) (local.get $s)))))
      (local.set $x (i32.add (local.get $x) (i32.const 16)))
      (local.set $dst (i32.add (local.get $dst) (i32.const 16)))
      (br_if $four (local.tee $n (i32.sub (local.get $n) (i32.const 4))))))

  ;; subtract: dst[i] -= x[i]
  (func (export "kernel_subtract") (param $dst i32) (param $x i32) (param $n i32)
    (loop $four
      (v128.store (local.get $dst) (f32x4.sub (v128.load (local.get $dst)) (v128.load (local.get $x))))
      (local.set $x (i32.add (local.get $x) (i32.const 16)))
      (local.set $dst (i32.add (local.get $dst) (i32.const 16)))
      (br_if $four (local.tee $n (i32.sub (local.get $n) (i32.const 4))))))

  ;; widen: dst[i] = the value of the binary16 x[i]. It shifts exponent and fraction into place and multiplies by 2^112, the
  ;; difference of the biases. Infinities and NaNs keep the largest exponent.
  (func (export "kernel_widen") (param $dst i32) (param $x i32) (param $n i32)
    (local $h v128) (local $size v128)
    (loop $four
      (local.set $h (v128.load16x4_u (local.get $x)))
      (local.set $size (v128.and (local.get $h) (v128.const i32x4 0x7fff 0x7fff 0x7fff 0x7fff)))
      (v128.store (local.get $dst) (v128.or
        (v128.or
          (f32x4.mul (i32x4.shl (local.get $size) (i32.const 13)) (f32x4.splat (f32.const 0x1p112)))
          (i32x4.shl (v128.and (local.get $h) (v128.const i32x4 0x8000 0x8000 0x8000 0x8000)) (i32.const 16)))
        (v128.and
          (i32x4.ge_s (local.get $size) (v128.const i32x4 0x7c00 0x7c00 0x7c00 0x7c00))
          (v128.const i32x4 0x7f800000 0x7f800000 0x7f800000 0x7f800000))))
      (local.set $x (i32.add (local.get $x) (i32.const 8)))
      (local.set $dst (i32.add (local.get $dst) (i32.const 16)))
      (br_if $four (local.tee $n (i32.sub (local.get $n) (i32.const 4))))))

  ;; quantize writes 16-bit numbers: x[i] times 32767, rounded to the nearest, and no further from 0 than 32767. n is a
  ;; multiple of 8.
  (func (export "kernel_quantize") (param $dst i32) (param $x i32) (param $n i32)
    (local $unit v128) (local $least v128)
    (local.set $unit (f32x4.splat (f32.const 32767)))
    (local.set $least (f32x4.splat (f32.const -32767)))
    (loop $eight
      (v128.store (local.get $dst) (i16x8.narrow_i32x4_s
        (i32x4.trunc_sat_f32x4_s (f32x4.nearest (f32x4.min (local.get $unit) (f32x4.max (local.get $least)
          (f32x4.mul (v128.load (local.get $x)) (local.get $unit))))))
        (i32x4.trunc_sat_f32x4_s (f32x4.nearest (f32x4.min (local.get $unit) (f32x4.max (local.get $least)
          (f32x4.mul (v128.load offset=16 (local.get $x)) (local.get $unit))))))))
      (local.set $x (i32.add (local.get $x) (i32.const 32)))
      (local.set $dst (i32.add (local.get $dst) (i32.const 16)))
      (br_if $eight (local.tee $n (i32.sub (local.get $n) (i32.const 8))))))

  ;; above writes those i to dst for which float32(x[i]) >= floor[i] - tails[i]*tail, and returns how many they are. i and x
  ;; are 32-bit whole numbers.
  (func (export "kernel_above") (param $dst i32) (param $x i32) (param $floor i32) (param $tails i32) (param $n i32) (param $tail f32) (result i32)
    (local $i i32) (local $bits i32) (local $start i32) (local $t v128)
    (local.set $t (f32x4.splat (local.get $tail)))
    (local.set $start (local.get $dst))
    (loop $four
      (local.set $bits (i32x4.bitmask (f32x4.ge (f32x4.convert_i32x4_s (v128.load (local.get $x)))
        (f32x4.sub (v128.load (local.get $floor)) (f32x4.mul (v128.load (local.get $tails)) (local.get $t))))))
      (block $none
        (br_if $none (i32.eqz (local.get $bits)))
        (loop $bit
          (i32.store (local.get $dst) (i32.add (local.get $i) (i32.ctz (local.get $bits))))
          (local.set $dst (i32.add (local.get $dst) (i32.const 4)))
          (br_if $bit (local.tee $bits (i32.and (local.get $bits) (i32.sub (local.get $bits) (i32.const 1)))))))
      (local.set $x (i32.add (local.get $x) (i32.const 16)))
      (local.set $floor (i32.add (local.get $floor) (i32.const 16)))
      (local.set $tails (i32.add (local.get $tails) (i32.const 16)))
      (br_if $four (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (local.get $n))))
    (i32.shr_u (i32.sub (local.get $dst) (local.get $start)) (i32.const 2)))

  ;; extend takes count > 0 numbers i in kept. It adds to sums[i] the product of row i with x over n > 0 words, as screen16
  ;; does, and leaves those i, in order, for which float32(sums[i]) >= floor[i] - tails[i]*tail. It returns how many they are.
  ;; Rows are stride apart. n is in bytes, a multiple of 16.
  (func (export "kernel_extend") (param $kept i32) (param $count i32) (param $sums i32) (param $rows i32) (param $stride i32) (param $x i32)
    (param $n i32) (param $floor i32) (param $tails i32) (param $tail f32) (result i32)
    (local $at i32) (local $to i32) (local $end i32) (local $i i32) (local $q i32) (local $d i32) (local $m i32) (local $s i32)
    (local $s0 v128) (local $s1 v128)
    (local.set $at (local.get $kept))
    (local.set $to (local.get $kept))
    (local.set $end (i32.add (local.get $kept) (i32.shl (local.get $count) (i32.const 2))))
    (loop $next
      (local.set $i (i32.load (local.get $at)))
      (local.set $q (i32.add (local.get $rows) (i32.mul (local.get $i) (local.get $stride))))
      (local.set $d (local.get $x))
      (local.set $m (local.get $n))
      (local.set $s0 (v128.const i32x4 0 0 0 0))
      (local.set $s1 (local.get $s0))
      (block $rest (loop $four
        (br_if $rest (i32.lt_u (local.get $m) (i32.const 64)))
        (drop (i32.load8_u offset=63 (local.get $q)))
        (drop (i32.load8_u offset=63 (local.get $d)))
        (local.set $s0 (i32x4.add (local.get $s0) (i32x4.dot_i16x8_s (v128.load offset=0 (local.get $q)) (v128.load offset=0 (local.get $d)))))
        (local.set $s1 (i32x4.add (local.get $s1) (i32x4.dot_i16x8_s (v128.load offset=16 (local.get $q)) (v128.load offset=16 (local.get $d)))))
        (local.set $s0 (i32x4.add (local.get $s0) (i32x4.dot_i16x8_s (v128.load offset=32 (local.get $q)) (v128.load offset=32 (local.get $d)))))
        (local.set $s1 (i32x4.add (local.get $s1) (i32x4.dot_i16x8_s (v128.load offset=48 (local.get $q)) (v128.load offset=48 (local.get $d)))))
        (local.set $q (i32.add (local.get $q) (i32.const 64)))
        (local.set $d (i32.add (local.get $d) (i32.const 64)))
        (local.set $m (i32.sub (local.get $m) (i32.const 64)))
        (br $four)))
      (block $done (loop $one
        (br_if $done (i32.eqz (local.get $m)))
        (local.set $s0 (i32x4.add (local.get $s0) (i32x4.dot_i16x8_s (v128.load (local.get $q)) (v128.load (local.get $d)))))
        (local.set $q (i32.add (local.get $q) (i32.const 16)))
        (local.set $d (i32.add (local.get $d) (i32.const 16)))
        (local.set $m (i32.sub (local.get $m) (i32.const 16)))
        (br $one)))
      (local.set $s0 (i32x4.add (local.get $s0) (local.get $s1)))
      (local.set $s0 (i32x4.add (local.get $s0) (i8x16.shuffle 8 9 10 11 12 13 14 15 8 9 10 11 12 13 14 15 (local.get $s0) (local.get $s0))))
      (local.set $d (i32.shl (local.get $i) (i32.const 2)))
      (local.set $q (i32.add (local.get $sums) (local.get $d)))
      (local.set $s (i32.add (i32.load (local.get $q)) (i32.add (i32x4.extract_lane 0 (local.get $s0)) (i32x4.extract_lane 1 (local.get $s0)))))
      (i32.store (local.get $q) (local.get $s))
      (i32.store (local.get $to) (local.get $i))
      (local.set $to (i32.add (local.get $to) (i32.shl
        (f32.ge (f32.convert_i32_s (local.get $s))
          (f32.sub (f32.load (i32.add (local.get $floor) (local.get $d))) (f32.mul (f32.load (i32.add (local.get $tails) (local.get $d))) (local.get $tail))))
        (i32.const 2))))
      (br_if $next (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 4))) (local.get $end))))
    (i32.shr_u (i32.sub (local.get $to) (local.get $kept)) (i32.const 2)))

  ;; finite is 1 where no x[i] is NaN or infinite, and 0 otherwise. It sums x[i] - x[i], which is 0, or NaN.
  (func (export "kernel_finite") (param $x i32) (param $n i32) (result i32)
    (local $sum v128) (local $v v128)
    (loop $four
      (local.set $v (v128.load (local.get $x)))
      (local.set $sum (f32x4.add (local.get $sum) (f32x4.sub (local.get $v) (local.get $v))))
      (local.set $x (i32.add (local.get $x) (i32.const 16)))
      (br_if $four (local.tee $n (i32.sub (local.get $n) (i32.const 4)))))
    (i32x4.all_true (f32x4.eq (local.get $sum) (local.get $sum)))))
