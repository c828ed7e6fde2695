func.func @_mlir_unpack8(%ys_ptr: memref<1xf32>, %shift_ptr: memref<1xi32>, %weight_scale_ptr: memref<1xf32>, %bias_ptr: memref<1xf32>, %x_scale_ptr: memref<1xf32>, %y_ptr: memref<1xf32>, %m: index, %tile_lo: index, %tile_hi: index, %n_lo: index, %n_hi: index) {
  %const_0 = arith.constant 16 : index
  %const_1 = arith.constant 1 : index
  %const_2 = arith.constant 512 : index
  %const_3 = arith.constant 0 : index
  %const_4 = arith.constant 32 : index
  %const_5 = arith.constant 48 : index
  %const_6 = arith.constant 64 : index
  %const_7 = arith.constant 80 : index
  %const_8 = arith.constant 96 : index
  %const_9 = arith.constant 112 : index
  %const_10 = arith.constant 128 : index
  %const_11 = arith.constant 144 : index
  %const_12 = arith.constant 160 : index
  %const_13 = arith.constant 176 : index
  %const_14 = arith.constant 192 : index
  %const_15 = arith.constant 208 : index
  %const_16 = arith.constant 224 : index
  %const_17 = arith.constant 240 : index
  %const_18 = arith.constant dense<0.0> : vector<16xf32>
  %const_19 = arith.constant 18 : index
  %const_20 = arith.constant 2 : index
  %const_21 = arith.constant 3 : index
  %const_22 = arith.constant 4 : index
  %const_23 = arith.constant 5 : index
  %const_24 = arith.constant 6 : index
  %const_25 = arith.constant 7 : index
  %const_26 = arith.constant 8 : index
  %const_27 = arith.constant 9 : index
  %const_28 = arith.constant 10 : index
  %const_29 = arith.constant 11 : index
  %const_30 = arith.constant 12 : index
  %const_31 = arith.constant 13 : index
  %const_32 = arith.constant 14 : index
  %const_33 = arith.constant 15 : index
  %const_34 = arith.constant dense<0> : vector<16xi32>
  %const_35 = arith.constant 1099511627776 : index
  %ys = memref.reinterpret_cast %ys_ptr to offset: [0], sizes: [%const_35], strides: [1] : memref<1xf32> to memref<?xf32>
  %shift = memref.reinterpret_cast %shift_ptr to offset: [0], sizes: [%const_35], strides: [1] : memref<1xi32> to memref<?xi32>
  %weight_scale = memref.reinterpret_cast %weight_scale_ptr to offset: [0], sizes: [%const_35], strides: [1] : memref<1xf32> to memref<?xf32>
  %bias = memref.reinterpret_cast %bias_ptr to offset: [0], sizes: [%const_35], strides: [1] : memref<1xf32> to memref<?xf32>
  %x_scale = memref.reinterpret_cast %x_scale_ptr to offset: [0], sizes: [%const_35], strides: [1] : memref<1xf32> to memref<?xf32>
  %y = memref.reinterpret_cast %y_ptr to offset: [0], sizes: [%const_35], strides: [1] : memref<1xf32> to memref<?xf32>
  %i1 = arith.minsi %n_hi, %const_0 : index
  scf.for %tile2 = %tile_lo to %tile_hi step %const_1 {
    %i3 = arith.muli %tile2, %const_0 : index
    %i4 = arith.muli %tile2, %const_2 : index
    %i5 = arith.muli %n_lo, %const_0 : index
    %i6 = arith.subi %i4, %i5 : index
    %i7 = arith.subi %m, %i3 : index
    %i8 = arith.minsi %i7, %const_0 : index
    scf.for %n9 = %n_lo to %i1 step %const_0 {
      %i10 = arith.muli %n9, %const_0 : index
      %i11 = arith.addi %i6, %i10 : index
      %i12 = arith.addi %i11, %const_3 : index
      %x13 = vector.load %ys[%i12] : memref<?xf32>, vector<16xf32>
      %i14 = arith.addi %i11, %const_0 : index
      %x15 = vector.load %ys[%i14] : memref<?xf32>, vector<16xf32>
      %i16 = arith.addi %i11, %const_4 : index
      %x17 = vector.load %ys[%i16] : memref<?xf32>, vector<16xf32>
      %i18 = arith.addi %i11, %const_5 : index
      %x19 = vector.load %ys[%i18] : memref<?xf32>, vector<16xf32>
      %i20 = arith.addi %i11, %const_6 : index
      %x21 = vector.load %ys[%i20] : memref<?xf32>, vector<16xf32>
      %i22 = arith.addi %i11, %const_7 : index
      %x23 = vector.load %ys[%i22] : memref<?xf32>, vector<16xf32>
      %i24 = arith.addi %i11, %const_8 : index
      %x25 = vector.load %ys[%i24] : memref<?xf32>, vector<16xf32>
      %i26 = arith.addi %i11, %const_9 : index
      %x27 = vector.load %ys[%i26] : memref<?xf32>, vector<16xf32>
      %i28 = arith.addi %i11, %const_10 : index
      %x29 = vector.load %ys[%i28] : memref<?xf32>, vector<16xf32>
      %i30 = arith.addi %i11, %const_11 : index
      %x31 = vector.load %ys[%i30] : memref<?xf32>, vector<16xf32>
      %i32 = arith.addi %i11, %const_12 : index
      %x33 = vector.load %ys[%i32] : memref<?xf32>, vector<16xf32>
      %i34 = arith.addi %i11, %const_13 : index
      %x35 = vector.load %ys[%i34] : memref<?xf32>, vector<16xf32>
      %i36 = arith.addi %i11, %const_14 : index
      %x37 = vector.load %ys[%i36] : memref<?xf32>, vector<16xf32>
      %i38 = arith.addi %i11, %const_15 : index
      %x39 = vector.load %ys[%i38] : memref<?xf32>, vector<16xf32>
      %i40 = arith.addi %i11, %const_16 : index
      %x41 = vector.load %ys[%i40] : memref<?xf32>, vector<16xf32>
      %i42 = arith.addi %i11, %const_17 : index
      %x43 = vector.load %ys[%i42] : memref<?xf32>, vector<16xf32>
      %t44 = vector.shuffle %x13, %x15 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
      %t45 = vector.shuffle %x13, %x15 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
      %t46 = vector.shuffle %x17, %x19 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
      %t47 = vector.shuffle %x17, %x19 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
      %t48 = vector.shuffle %x21, %x23 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
      %t49 = vector.shuffle %x21, %x23 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
      %t50 = vector.shuffle %x25, %x27 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
      %t51 = vector.shuffle %x25, %x27 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
      %t52 = vector.shuffle %x29, %x31 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
      %t53 = vector.shuffle %x29, %x31 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
      %t54 = vector.shuffle %x33, %x35 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
      %t55 = vector.shuffle %x33, %x35 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
      %t56 = vector.shuffle %x37, %x39 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
      %t57 = vector.shuffle %x37, %x39 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
      %t58 = vector.shuffle %x41, %x43 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
      %t59 = vector.shuffle %x41, %x43 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
      %t60 = vector.shuffle %t44, %t46 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
      %t61 = vector.shuffle %t44, %t46 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
      %t62 = vector.shuffle %t45, %t47 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
      %t63 = vector.shuffle %t45, %t47 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
      %t64 = vector.shuffle %t48, %t50 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
      %t65 = vector.shuffle %t48, %t50 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
      %t66 = vector.shuffle %t49, %t51 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
      %t67 = vector.shuffle %t49, %t51 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
      %t68 = vector.shuffle %t52, %t54 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
      %t69 = vector.shuffle %t52, %t54 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
      %t70 = vector.shuffle %t53, %t55 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
      %t71 = vector.shuffle %t53, %t55 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
      %t72 = vector.shuffle %t56, %t58 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
      %t73 = vector.shuffle %t56, %t58 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
      %t74 = vector.shuffle %t57, %t59 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
      %t75 = vector.shuffle %t57, %t59 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
      %t76 = vector.shuffle %t60, %t64 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t77 = vector.shuffle %t60, %t64 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t78 = vector.shuffle %t62, %t66 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t79 = vector.shuffle %t62, %t66 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t80 = vector.shuffle %t61, %t65 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t81 = vector.shuffle %t61, %t65 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t82 = vector.shuffle %t63, %t67 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t83 = vector.shuffle %t63, %t67 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t84 = vector.shuffle %t68, %t72 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t85 = vector.shuffle %t68, %t72 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t86 = vector.shuffle %t70, %t74 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t87 = vector.shuffle %t70, %t74 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t88 = vector.shuffle %t69, %t73 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t89 = vector.shuffle %t69, %t73 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t90 = vector.shuffle %t71, %t75 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t91 = vector.shuffle %t71, %t75 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t92 = vector.shuffle %t76, %t84 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t93 = vector.shuffle %t76, %t84 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t94 = vector.shuffle %t78, %t86 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t95 = vector.shuffle %t78, %t86 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t96 = vector.shuffle %t80, %t88 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t97 = vector.shuffle %t80, %t88 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t98 = vector.shuffle %t82, %t90 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t99 = vector.shuffle %t82, %t90 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t100 = vector.shuffle %t77, %t85 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t101 = vector.shuffle %t77, %t85 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t102 = vector.shuffle %t79, %t87 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t103 = vector.shuffle %t79, %t87 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t104 = vector.shuffle %t81, %t89 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t105 = vector.shuffle %t81, %t89 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t106 = vector.shuffle %t83, %t91 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t107 = vector.shuffle %t83, %t91 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %x108 = vector.load %shift[%n9] : memref<?xi32>, vector<16xi32>
      %x109 = vector.load %weight_scale[%n9] : memref<?xf32>, vector<16xf32>
      %x110 = vector.load %bias[%n9] : memref<?xf32>, vector<16xf32>
      %p111 = arith.cmpi slt, %const_3, %i8 : index
      scf.if %p111 {
        %s112 = arith.bitcast %t92 : vector<16xf32> to vector<16xi32>
        %s113 = arith.addi %s112, %x108 : vector<16xi32>
        %y114 = arith.sitofp %s113 : vector<16xi32> to vector<16xf32>
        %i115 = arith.addi %i3, %const_3 : index
        %s116 = memref.load %x_scale[%i115] : memref<?xf32>
        %w117 = vector.broadcast %s116 : f32 to vector<16xf32>
        %y118 = arith.mulf %y114, %x109 : vector<16xf32>
        %y119 = arith.mulf %y118, %w117 : vector<16xf32>
        %y120 = arith.addf %y119, %x110 : vector<16xf32>
        %i121 = arith.muli %i115, %const_19 : index
        %i122 = arith.addi %i121, %n9 : index
        vector.store %y120, %y[%i122] : memref<?xf32>, vector<16xf32>
      }
      %p123 = arith.cmpi slt, %const_1, %i8 : index
      scf.if %p123 {
        %s124 = arith.bitcast %t96 : vector<16xf32> to vector<16xi32>
        %s125 = arith.addi %s124, %x108 : vector<16xi32>
        %y126 = arith.sitofp %s125 : vector<16xi32> to vector<16xf32>
        %i127 = arith.addi %i3, %const_1 : index
        %s128 = memref.load %x_scale[%i127] : memref<?xf32>
        %w129 = vector.broadcast %s128 : f32 to vector<16xf32>
        %y130 = arith.mulf %y126, %x109 : vector<16xf32>
        %y131 = arith.mulf %y130, %w129 : vector<16xf32>
        %y132 = arith.addf %y131, %x110 : vector<16xf32>
        %i133 = arith.muli %i127, %const_19 : index
        %i134 = arith.addi %i133, %n9 : index
        vector.store %y132, %y[%i134] : memref<?xf32>, vector<16xf32>
      }
      %p135 = arith.cmpi slt, %const_20, %i8 : index
      scf.if %p135 {
        %s136 = arith.bitcast %t94 : vector<16xf32> to vector<16xi32>
        %s137 = arith.addi %s136, %x108 : vector<16xi32>
        %y138 = arith.sitofp %s137 : vector<16xi32> to vector<16xf32>
        %i139 = arith.addi %i3, %const_20 : index
        %s140 = memref.load %x_scale[%i139] : memref<?xf32>
        %w141 = vector.broadcast %s140 : f32 to vector<16xf32>
        %y142 = arith.mulf %y138, %x109 : vector<16xf32>
        %y143 = arith.mulf %y142, %w141 : vector<16xf32>
        %y144 = arith.addf %y143, %x110 : vector<16xf32>
        %i145 = arith.muli %i139, %const_19 : index
        %i146 = arith.addi %i145, %n9 : index
        vector.store %y144, %y[%i146] : memref<?xf32>, vector<16xf32>
      }
      %p147 = arith.cmpi slt, %const_21, %i8 : index
      scf.if %p147 {
        %s148 = arith.bitcast %t98 : vector<16xf32> to vector<16xi32>
        %s149 = arith.addi %s148, %x108 : vector<16xi32>
        %y150 = arith.sitofp %s149 : vector<16xi32> to vector<16xf32>
        %i151 = arith.addi %i3, %const_21 : index
        %s152 = memref.load %x_scale[%i151] : memref<?xf32>
        %w153 = vector.broadcast %s152 : f32 to vector<16xf32>
        %y154 = arith.mulf %y150, %x109 : vector<16xf32>
        %y155 = arith.mulf %y154, %w153 : vector<16xf32>
        %y156 = arith.addf %y155, %x110 : vector<16xf32>
        %i157 = arith.muli %i151, %const_19 : index
        %i158 = arith.addi %i157, %n9 : index
        vector.store %y156, %y[%i158] : memref<?xf32>, vector<16xf32>
      }
      %p159 = arith.cmpi slt, %const_22, %i8 : index
      scf.if %p159 {
        %s160 = arith.bitcast %t100 : vector<16xf32> to vector<16xi32>
        %s161 = arith.addi %s160, %x108 : vector<16xi32>
        %y162 = arith.sitofp %s161 : vector<16xi32> to vector<16xf32>
        %i163 = arith.addi %i3, %const_22 : index
        %s164 = memref.load %x_scale[%i163] : memref<?xf32>
        %w165 = vector.broadcast %s164 : f32 to vector<16xf32>
        %y166 = arith.mulf %y162, %x109 : vector<16xf32>
        %y167 = arith.mulf %y166, %w165 : vector<16xf32>
        %y168 = arith.addf %y167, %x110 : vector<16xf32>
        %i169 = arith.muli %i163, %const_19 : index
        %i170 = arith.addi %i169, %n9 : index
        vector.store %y168, %y[%i170] : memref<?xf32>, vector<16xf32>
      }
      %p171 = arith.cmpi slt, %const_23, %i8 : index
      scf.if %p171 {
        %s172 = arith.bitcast %t104 : vector<16xf32> to vector<16xi32>
        %s173 = arith.addi %s172, %x108 : vector<16xi32>
        %y174 = arith.sitofp %s173 : vector<16xi32> to vector<16xf32>
        %i175 = arith.addi %i3, %const_23 : index
        %s176 = memref.load %x_scale[%i175] : memref<?xf32>
        %w177 = vector.broadcast %s176 : f32 to vector<16xf32>
        %y178 = arith.mulf %y174, %x109 : vector<16xf32>
        %y179 = arith.mulf %y178, %w177 : vector<16xf32>
        %y180 = arith.addf %y179, %x110 : vector<16xf32>
        %i181 = arith.muli %i175, %const_19 : index
        %i182 = arith.addi %i181, %n9 : index
        vector.store %y180, %y[%i182] : memref<?xf32>, vector<16xf32>
      }
      %p183 = arith.cmpi slt, %const_24, %i8 : index
      scf.if %p183 {
        %s184 = arith.bitcast %t102 : vector<16xf32> to vector<16xi32>
        %s185 = arith.addi %s184, %x108 : vector<16xi32>
        %y186 = arith.sitofp %s185 : vector<16xi32> to vector<16xf32>
        %i187 = arith.addi %i3, %const_24 : index
        %s188 = memref.load %x_scale[%i187] : memref<?xf32>
        %w189 = vector.broadcast %s188 : f32 to vector<16xf32>
        %y190 = arith.mulf %y186, %x109 : vector<16xf32>
        %y191 = arith.mulf %y190, %w189 : vector<16xf32>
        %y192 = arith.addf %y191, %x110 : vector<16xf32>
        %i193 = arith.muli %i187, %const_19 : index
        %i194 = arith.addi %i193, %n9 : index
        vector.store %y192, %y[%i194] : memref<?xf32>, vector<16xf32>
      }
      %p195 = arith.cmpi slt, %const_25, %i8 : index
      scf.if %p195 {
        %s196 = arith.bitcast %t106 : vector<16xf32> to vector<16xi32>
        %s197 = arith.addi %s196, %x108 : vector<16xi32>
        %y198 = arith.sitofp %s197 : vector<16xi32> to vector<16xf32>
        %i199 = arith.addi %i3, %const_25 : index
        %s200 = memref.load %x_scale[%i199] : memref<?xf32>
        %w201 = vector.broadcast %s200 : f32 to vector<16xf32>
        %y202 = arith.mulf %y198, %x109 : vector<16xf32>
        %y203 = arith.mulf %y202, %w201 : vector<16xf32>
        %y204 = arith.addf %y203, %x110 : vector<16xf32>
        %i205 = arith.muli %i199, %const_19 : index
        %i206 = arith.addi %i205, %n9 : index
        vector.store %y204, %y[%i206] : memref<?xf32>, vector<16xf32>
      }
      %p207 = arith.cmpi slt, %const_26, %i8 : index
      scf.if %p207 {
        %s208 = arith.bitcast %t93 : vector<16xf32> to vector<16xi32>
        %s209 = arith.addi %s208, %x108 : vector<16xi32>
        %y210 = arith.sitofp %s209 : vector<16xi32> to vector<16xf32>
        %i211 = arith.addi %i3, %const_26 : index
        %s212 = memref.load %x_scale[%i211] : memref<?xf32>
        %w213 = vector.broadcast %s212 : f32 to vector<16xf32>
        %y214 = arith.mulf %y210, %x109 : vector<16xf32>
        %y215 = arith.mulf %y214, %w213 : vector<16xf32>
        %y216 = arith.addf %y215, %x110 : vector<16xf32>
        %i217 = arith.muli %i211, %const_19 : index
        %i218 = arith.addi %i217, %n9 : index
        vector.store %y216, %y[%i218] : memref<?xf32>, vector<16xf32>
      }
      %p219 = arith.cmpi slt, %const_27, %i8 : index
      scf.if %p219 {
        %s220 = arith.bitcast %t97 : vector<16xf32> to vector<16xi32>
        %s221 = arith.addi %s220, %x108 : vector<16xi32>
        %y222 = arith.sitofp %s221 : vector<16xi32> to vector<16xf32>
        %i223 = arith.addi %i3, %const_27 : index
        %s224 = memref.load %x_scale[%i223] : memref<?xf32>
        %w225 = vector.broadcast %s224 : f32 to vector<16xf32>
        %y226 = arith.mulf %y222, %x109 : vector<16xf32>
        %y227 = arith.mulf %y226, %w225 : vector<16xf32>
        %y228 = arith.addf %y227, %x110 : vector<16xf32>
        %i229 = arith.muli %i223, %const_19 : index
        %i230 = arith.addi %i229, %n9 : index
        vector.store %y228, %y[%i230] : memref<?xf32>, vector<16xf32>
      }
      %p231 = arith.cmpi slt, %const_28, %i8 : index
      scf.if %p231 {
        %s232 = arith.bitcast %t95 : vector<16xf32> to vector<16xi32>
        %s233 = arith.addi %s232, %x108 : vector<16xi32>
        %y234 = arith.sitofp %s233 : vector<16xi32> to vector<16xf32>
        %i235 = arith.addi %i3, %const_28 : index
        %s236 = memref.load %x_scale[%i235] : memref<?xf32>
        %w237 = vector.broadcast %s236 : f32 to vector<16xf32>
        %y238 = arith.mulf %y234, %x109 : vector<16xf32>
        %y239 = arith.mulf %y238, %w237 : vector<16xf32>
        %y240 = arith.addf %y239, %x110 : vector<16xf32>
        %i241 = arith.muli %i235, %const_19 : index
        %i242 = arith.addi %i241, %n9 : index
        vector.store %y240, %y[%i242] : memref<?xf32>, vector<16xf32>
      }
      %p243 = arith.cmpi slt, %const_29, %i8 : index
      scf.if %p243 {
        %s244 = arith.bitcast %t99 : vector<16xf32> to vector<16xi32>
        %s245 = arith.addi %s244, %x108 : vector<16xi32>
        %y246 = arith.sitofp %s245 : vector<16xi32> to vector<16xf32>
        %i247 = arith.addi %i3, %const_29 : index
        %s248 = memref.load %x_scale[%i247] : memref<?xf32>
        %w249 = vector.broadcast %s248 : f32 to vector<16xf32>
        %y250 = arith.mulf %y246, %x109 : vector<16xf32>
        %y251 = arith.mulf %y250, %w249 : vector<16xf32>
        %y252 = arith.addf %y251, %x110 : vector<16xf32>
        %i253 = arith.muli %i247, %const_19 : index
        %i254 = arith.addi %i253, %n9 : index
        vector.store %y252, %y[%i254] : memref<?xf32>, vector<16xf32>
      }
      %p255 = arith.cmpi slt, %const_30, %i8 : index
      scf.if %p255 {
        %s256 = arith.bitcast %t101 : vector<16xf32> to vector<16xi32>
        %s257 = arith.addi %s256, %x108 : vector<16xi32>
        %y258 = arith.sitofp %s257 : vector<16xi32> to vector<16xf32>
        %i259 = arith.addi %i3, %const_30 : index
        %s260 = memref.load %x_scale[%i259] : memref<?xf32>
        %w261 = vector.broadcast %s260 : f32 to vector<16xf32>
        %y262 = arith.mulf %y258, %x109 : vector<16xf32>
        %y263 = arith.mulf %y262, %w261 : vector<16xf32>
        %y264 = arith.addf %y263, %x110 : vector<16xf32>
        %i265 = arith.muli %i259, %const_19 : index
        %i266 = arith.addi %i265, %n9 : index
        vector.store %y264, %y[%i266] : memref<?xf32>, vector<16xf32>
      }
      %p267 = arith.cmpi slt, %const_31, %i8 : index
      scf.if %p267 {
        %s268 = arith.bitcast %t105 : vector<16xf32> to vector<16xi32>
        %s269 = arith.addi %s268, %x108 : vector<16xi32>
        %y270 = arith.sitofp %s269 : vector<16xi32> to vector<16xf32>
        %i271 = arith.addi %i3, %const_31 : index
        %s272 = memref.load %x_scale[%i271] : memref<?xf32>
        %w273 = vector.broadcast %s272 : f32 to vector<16xf32>
        %y274 = arith.mulf %y270, %x109 : vector<16xf32>
        %y275 = arith.mulf %y274, %w273 : vector<16xf32>
        %y276 = arith.addf %y275, %x110 : vector<16xf32>
        %i277 = arith.muli %i271, %const_19 : index
        %i278 = arith.addi %i277, %n9 : index
        vector.store %y276, %y[%i278] : memref<?xf32>, vector<16xf32>
      }
      %p279 = arith.cmpi slt, %const_32, %i8 : index
      scf.if %p279 {
        %s280 = arith.bitcast %t103 : vector<16xf32> to vector<16xi32>
        %s281 = arith.addi %s280, %x108 : vector<16xi32>
        %y282 = arith.sitofp %s281 : vector<16xi32> to vector<16xf32>
        %i283 = arith.addi %i3, %const_32 : index
        %s284 = memref.load %x_scale[%i283] : memref<?xf32>
        %w285 = vector.broadcast %s284 : f32 to vector<16xf32>
        %y286 = arith.mulf %y282, %x109 : vector<16xf32>
        %y287 = arith.mulf %y286, %w285 : vector<16xf32>
        %y288 = arith.addf %y287, %x110 : vector<16xf32>
        %i289 = arith.muli %i283, %const_19 : index
        %i290 = arith.addi %i289, %n9 : index
        vector.store %y288, %y[%i290] : memref<?xf32>, vector<16xf32>
      }
      %p291 = arith.cmpi slt, %const_33, %i8 : index
      scf.if %p291 {
        %s292 = arith.bitcast %t107 : vector<16xf32> to vector<16xi32>
        %s293 = arith.addi %s292, %x108 : vector<16xi32>
        %y294 = arith.sitofp %s293 : vector<16xi32> to vector<16xf32>
        %i295 = arith.addi %i3, %const_33 : index
        %s296 = memref.load %x_scale[%i295] : memref<?xf32>
        %w297 = vector.broadcast %s296 : f32 to vector<16xf32>
        %y298 = arith.mulf %y294, %x109 : vector<16xf32>
        %y299 = arith.mulf %y298, %w297 : vector<16xf32>
        %y300 = arith.addf %y299, %x110 : vector<16xf32>
        %i301 = arith.muli %i295, %const_19 : index
        %i302 = arith.addi %i301, %n9 : index
        vector.store %y300, %y[%i302] : memref<?xf32>, vector<16xf32>
      }
    }
    %p303 = arith.cmpi sgt, %n_hi, %const_0 : index
    scf.if %p303 {
      %i304 = arith.muli %const_0, %const_0 : index
      %i305 = arith.addi %i6, %i304 : index
      %i306 = arith.addi %i305, %const_3 : index
      %x307 = vector.load %ys[%i306] : memref<?xf32>, vector<16xf32>
      %i308 = arith.addi %i305, %const_0 : index
      %x309 = vector.load %ys[%i308] : memref<?xf32>, vector<16xf32>
      %t310 = vector.shuffle %x307, %x309 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
      %t311 = vector.shuffle %x307, %x309 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
      %t312 = vector.shuffle %const_18, %const_18 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
      %t313 = vector.shuffle %const_18, %const_18 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
      %t314 = vector.shuffle %const_18, %const_18 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
      %t315 = vector.shuffle %const_18, %const_18 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
      %t316 = vector.shuffle %const_18, %const_18 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
      %t317 = vector.shuffle %const_18, %const_18 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
      %t318 = vector.shuffle %const_18, %const_18 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
      %t319 = vector.shuffle %const_18, %const_18 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
      %t320 = vector.shuffle %const_18, %const_18 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
      %t321 = vector.shuffle %const_18, %const_18 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
      %t322 = vector.shuffle %const_18, %const_18 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
      %t323 = vector.shuffle %const_18, %const_18 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
      %t324 = vector.shuffle %const_18, %const_18 [0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29] : vector<16xf32>, vector<16xf32>
      %t325 = vector.shuffle %const_18, %const_18 [2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31] : vector<16xf32>, vector<16xf32>
      %t326 = vector.shuffle %t310, %t312 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
      %t327 = vector.shuffle %t310, %t312 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
      %t328 = vector.shuffle %t311, %t313 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
      %t329 = vector.shuffle %t311, %t313 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
      %t330 = vector.shuffle %t314, %t316 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
      %t331 = vector.shuffle %t314, %t316 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
      %t332 = vector.shuffle %t315, %t317 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
      %t333 = vector.shuffle %t315, %t317 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
      %t334 = vector.shuffle %t318, %t320 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
      %t335 = vector.shuffle %t318, %t320 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
      %t336 = vector.shuffle %t319, %t321 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
      %t337 = vector.shuffle %t319, %t321 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
      %t338 = vector.shuffle %t322, %t324 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
      %t339 = vector.shuffle %t322, %t324 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
      %t340 = vector.shuffle %t323, %t325 [0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29] : vector<16xf32>, vector<16xf32>
      %t341 = vector.shuffle %t323, %t325 [2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31] : vector<16xf32>, vector<16xf32>
      %t342 = vector.shuffle %t326, %t330 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t343 = vector.shuffle %t326, %t330 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t344 = vector.shuffle %t328, %t332 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t345 = vector.shuffle %t328, %t332 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t346 = vector.shuffle %t327, %t331 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t347 = vector.shuffle %t327, %t331 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t348 = vector.shuffle %t329, %t333 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t349 = vector.shuffle %t329, %t333 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t350 = vector.shuffle %t334, %t338 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t351 = vector.shuffle %t334, %t338 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t352 = vector.shuffle %t336, %t340 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t353 = vector.shuffle %t336, %t340 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t354 = vector.shuffle %t335, %t339 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t355 = vector.shuffle %t335, %t339 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t356 = vector.shuffle %t337, %t341 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t357 = vector.shuffle %t337, %t341 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t358 = vector.shuffle %t342, %t350 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t359 = vector.shuffle %t342, %t350 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t360 = vector.shuffle %t344, %t352 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t361 = vector.shuffle %t344, %t352 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t362 = vector.shuffle %t346, %t354 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t363 = vector.shuffle %t346, %t354 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t364 = vector.shuffle %t348, %t356 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t365 = vector.shuffle %t348, %t356 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t366 = vector.shuffle %t343, %t351 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t367 = vector.shuffle %t343, %t351 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t368 = vector.shuffle %t345, %t353 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t369 = vector.shuffle %t345, %t353 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t370 = vector.shuffle %t347, %t355 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t371 = vector.shuffle %t347, %t355 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %t372 = vector.shuffle %t349, %t357 [0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27] : vector<16xf32>, vector<16xf32>
      %t373 = vector.shuffle %t349, %t357 [4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31] : vector<16xf32>, vector<16xf32>
      %m374 = vector.create_mask %const_20 : vector<16xi1>
      %b375 = vector.maskedload %shift[%const_0], %m374, %const_34 : memref<?xi32>, vector<16xi1>, vector<16xi32> into vector<16xi32>
      %b376 = vector.maskedload %weight_scale[%const_0], %m374, %const_18 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
      %b377 = vector.maskedload %bias[%const_0], %m374, %const_18 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
      %p378 = arith.cmpi slt, %const_3, %i8 : index
      scf.if %p378 {
        %s379 = arith.bitcast %t358 : vector<16xf32> to vector<16xi32>
        %s380 = arith.addi %s379, %b375 : vector<16xi32>
        %y381 = arith.sitofp %s380 : vector<16xi32> to vector<16xf32>
        %i382 = arith.addi %i3, %const_3 : index
        %s383 = memref.load %x_scale[%i382] : memref<?xf32>
        %w384 = vector.broadcast %s383 : f32 to vector<16xf32>
        %y385 = arith.mulf %y381, %b376 : vector<16xf32>
        %y386 = arith.mulf %y385, %w384 : vector<16xf32>
        %y387 = arith.addf %y386, %b377 : vector<16xf32>
        %i388 = arith.muli %i382, %const_19 : index
        %i389 = arith.addi %i388, %const_0 : index
        vector.maskedstore %y[%i389], %m374, %y387 : memref<?xf32>, vector<16xi1>, vector<16xf32>
      }
      %p390 = arith.cmpi slt, %const_1, %i8 : index
      scf.if %p390 {
        %s391 = arith.bitcast %t362 : vector<16xf32> to vector<16xi32>
        %s392 = arith.addi %s391, %b375 : vector<16xi32>
        %y393 = arith.sitofp %s392 : vector<16xi32> to vector<16xf32>
        %i394 = arith.addi %i3, %const_1 : index
        %s395 = memref.load %x_scale[%i394] : memref<?xf32>
        %w396 = vector.broadcast %s395 : f32 to vector<16xf32>
        %y397 = arith.mulf %y393, %b376 : vector<16xf32>
        %y398 = arith.mulf %y397, %w396 : vector<16xf32>
        %y399 = arith.addf %y398, %b377 : vector<16xf32>
        %i400 = arith.muli %i394, %const_19 : index
        %i401 = arith.addi %i400, %const_0 : index
        vector.maskedstore %y[%i401], %m374, %y399 : memref<?xf32>, vector<16xi1>, vector<16xf32>
      }
      %p402 = arith.cmpi slt, %const_20, %i8 : index
      scf.if %p402 {
        %s403 = arith.bitcast %t360 : vector<16xf32> to vector<16xi32>
        %s404 = arith.addi %s403, %b375 : vector<16xi32>
        %y405 = arith.sitofp %s404 : vector<16xi32> to vector<16xf32>
        %i406 = arith.addi %i3, %const_20 : index
        %s407 = memref.load %x_scale[%i406] : memref<?xf32>
        %w408 = vector.broadcast %s407 : f32 to vector<16xf32>
        %y409 = arith.mulf %y405, %b376 : vector<16xf32>
        %y410 = arith.mulf %y409, %w408 : vector<16xf32>
        %y411 = arith.addf %y410, %b377 : vector<16xf32>
        %i412 = arith.muli %i406, %const_19 : index
        %i413 = arith.addi %i412, %const_0 : index
        vector.maskedstore %y[%i413], %m374, %y411 : memref<?xf32>, vector<16xi1>, vector<16xf32>
      }
      %p414 = arith.cmpi slt, %const_21, %i8 : index
      scf.if %p414 {
        %s415 = arith.bitcast %t364 : vector<16xf32> to vector<16xi32>
        %s416 = arith.addi %s415, %b375 : vector<16xi32>
        %y417 = arith.sitofp %s416 : vector<16xi32> to vector<16xf32>
        %i418 = arith.addi %i3, %const_21 : index
        %s419 = memref.load %x_scale[%i418] : memref<?xf32>
        %w420 = vector.broadcast %s419 : f32 to vector<16xf32>
        %y421 = arith.mulf %y417, %b376 : vector<16xf32>
        %y422 = arith.mulf %y421, %w420 : vector<16xf32>
        %y423 = arith.addf %y422, %b377 : vector<16xf32>
        %i424 = arith.muli %i418, %const_19 : index
        %i425 = arith.addi %i424, %const_0 : index
        vector.maskedstore %y[%i425], %m374, %y423 : memref<?xf32>, vector<16xi1>, vector<16xf32>
      }
      %p426 = arith.cmpi slt, %const_22, %i8 : index
      scf.if %p426 {
        %s427 = arith.bitcast %t366 : vector<16xf32> to vector<16xi32>
        %s428 = arith.addi %s427, %b375 : vector<16xi32>
        %y429 = arith.sitofp %s428 : vector<16xi32> to vector<16xf32>
        %i430 = arith.addi %i3, %const_22 : index
        %s431 = memref.load %x_scale[%i430] : memref<?xf32>
        %w432 = vector.broadcast %s431 : f32 to vector<16xf32>
        %y433 = arith.mulf %y429, %b376 : vector<16xf32>
        %y434 = arith.mulf %y433, %w432 : vector<16xf32>
        %y435 = arith.addf %y434, %b377 : vector<16xf32>
        %i436 = arith.muli %i430, %const_19 : index
        %i437 = arith.addi %i436, %const_0 : index
        vector.maskedstore %y[%i437], %m374, %y435 : memref<?xf32>, vector<16xi1>, vector<16xf32>
      }
      %p438 = arith.cmpi slt, %const_23, %i8 : index
      scf.if %p438 {
        %s439 = arith.bitcast %t370 : vector<16xf32> to vector<16xi32>
        %s440 = arith.addi %s439, %b375 : vector<16xi32>
        %y441 = arith.sitofp %s440 : vector<16xi32> to vector<16xf32>
        %i442 = arith.addi %i3, %const_23 : index
        %s443 = memref.load %x_scale[%i442] : memref<?xf32>
        %w444 = vector.broadcast %s443 : f32 to vector<16xf32>
        %y445 = arith.mulf %y441, %b376 : vector<16xf32>
        %y446 = arith.mulf %y445, %w444 : vector<16xf32>
        %y447 = arith.addf %y446, %b377 : vector<16xf32>
        %i448 = arith.muli %i442, %const_19 : index
        %i449 = arith.addi %i448, %const_0 : index
        vector.maskedstore %y[%i449], %m374, %y447 : memref<?xf32>, vector<16xi1>, vector<16xf32>
      }
      %p450 = arith.cmpi slt, %const_24, %i8 : index
      scf.if %p450 {
        %s451 = arith.bitcast %t368 : vector<16xf32> to vector<16xi32>
        %s452 = arith.addi %s451, %b375 : vector<16xi32>
        %y453 = arith.sitofp %s452 : vector<16xi32> to vector<16xf32>
        %i454 = arith.addi %i3, %const_24 : index
        %s455 = memref.load %x_scale[%i454] : memref<?xf32>
        %w456 = vector.broadcast %s455 : f32 to vector<16xf32>
        %y457 = arith.mulf %y453, %b376 : vector<16xf32>
        %y458 = arith.mulf %y457, %w456 : vector<16xf32>
        %y459 = arith.addf %y458, %b377 : vector<16xf32>
        %i460 = arith.muli %i454, %const_19 : index
        %i461 = arith.addi %i460, %const_0 : index
        vector.maskedstore %y[%i461], %m374, %y459 : memref<?xf32>, vector<16xi1>, vector<16xf32>
      }
      %p462 = arith.cmpi slt, %const_25, %i8 : index
      scf.if %p462 {
        %s463 = arith.bitcast %t372 : vector<16xf32> to vector<16xi32>
        %s464 = arith.addi %s463, %b375 : vector<16xi32>
        %y465 = arith.sitofp %s464 : vector<16xi32> to vector<16xf32>
        %i466 = arith.addi %i3, %const_25 : index
        %s467 = memref.load %x_scale[%i466] : memref<?xf32>
        %w468 = vector.broadcast %s467 : f32 to vector<16xf32>
        %y469 = arith.mulf %y465, %b376 : vector<16xf32>
        %y470 = arith.mulf %y469, %w468 : vector<16xf32>
        %y471 = arith.addf %y470, %b377 : vector<16xf32>
        %i472 = arith.muli %i466, %const_19 : index
        %i473 = arith.addi %i472, %const_0 : index
        vector.maskedstore %y[%i473], %m374, %y471 : memref<?xf32>, vector<16xi1>, vector<16xf32>
      }
      %p474 = arith.cmpi slt, %const_26, %i8 : index
      scf.if %p474 {
        %s475 = arith.bitcast %t359 : vector<16xf32> to vector<16xi32>
        %s476 = arith.addi %s475, %b375 : vector<16xi32>
        %y477 = arith.sitofp %s476 : vector<16xi32> to vector<16xf32>
        %i478 = arith.addi %i3, %const_26 : index
        %s479 = memref.load %x_scale[%i478] : memref<?xf32>
        %w480 = vector.broadcast %s479 : f32 to vector<16xf32>
        %y481 = arith.mulf %y477, %b376 : vector<16xf32>
        %y482 = arith.mulf %y481, %w480 : vector<16xf32>
        %y483 = arith.addf %y482, %b377 : vector<16xf32>
        %i484 = arith.muli %i478, %const_19 : index
        %i485 = arith.addi %i484, %const_0 : index
        vector.maskedstore %y[%i485], %m374, %y483 : memref<?xf32>, vector<16xi1>, vector<16xf32>
      }
      %p486 = arith.cmpi slt, %const_27, %i8 : index
      scf.if %p486 {
        %s487 = arith.bitcast %t363 : vector<16xf32> to vector<16xi32>
        %s488 = arith.addi %s487, %b375 : vector<16xi32>
        %y489 = arith.sitofp %s488 : vector<16xi32> to vector<16xf32>
        %i490 = arith.addi %i3, %const_27 : index
        %s491 = memref.load %x_scale[%i490] : memref<?xf32>
        %w492 = vector.broadcast %s491 : f32 to vector<16xf32>
        %y493 = arith.mulf %y489, %b376 : vector<16xf32>
        %y494 = arith.mulf %y493, %w492 : vector<16xf32>
        %y495 = arith.addf %y494, %b377 : vector<16xf32>
        %i496 = arith.muli %i490, %const_19 : index
        %i497 = arith.addi %i496, %const_0 : index
        vector.maskedstore %y[%i497], %m374, %y495 : memref<?xf32>, vector<16xi1>, vector<16xf32>
      }
      %p498 = arith.cmpi slt, %const_28, %i8 : index
      scf.if %p498 {
        %s499 = arith.bitcast %t361 : vector<16xf32> to vector<16xi32>
        %s500 = arith.addi %s499, %b375 : vector<16xi32>
        %y501 = arith.sitofp %s500 : vector<16xi32> to vector<16xf32>
        %i502 = arith.addi %i3, %const_28 : index
        %s503 = memref.load %x_scale[%i502] : memref<?xf32>
        %w504 = vector.broadcast %s503 : f32 to vector<16xf32>
        %y505 = arith.mulf %y501, %b376 : vector<16xf32>
        %y506 = arith.mulf %y505, %w504 : vector<16xf32>
        %y507 = arith.addf %y506, %b377 : vector<16xf32>
        %i508 = arith.muli %i502, %const_19 : index
        %i509 = arith.addi %i508, %const_0 : index
        vector.maskedstore %y[%i509], %m374, %y507 : memref<?xf32>, vector<16xi1>, vector<16xf32>
      }
      %p510 = arith.cmpi slt, %const_29, %i8 : index
      scf.if %p510 {
        %s511 = arith.bitcast %t365 : vector<16xf32> to vector<16xi32>
        %s512 = arith.addi %s511, %b375 : vector<16xi32>
        %y513 = arith.sitofp %s512 : vector<16xi32> to vector<16xf32>
        %i514 = arith.addi %i3, %const_29 : index
        %s515 = memref.load %x_scale[%i514] : memref<?xf32>
        %w516 = vector.broadcast %s515 : f32 to vector<16xf32>
        %y517 = arith.mulf %y513, %b376 : vector<16xf32>
        %y518 = arith.mulf %y517, %w516 : vector<16xf32>
        %y519 = arith.addf %y518, %b377 : vector<16xf32>
        %i520 = arith.muli %i514, %const_19 : index
        %i521 = arith.addi %i520, %const_0 : index
        vector.maskedstore %y[%i521], %m374, %y519 : memref<?xf32>, vector<16xi1>, vector<16xf32>
      }
      %p522 = arith.cmpi slt, %const_30, %i8 : index
      scf.if %p522 {
        %s523 = arith.bitcast %t367 : vector<16xf32> to vector<16xi32>
        %s524 = arith.addi %s523, %b375 : vector<16xi32>
        %y525 = arith.sitofp %s524 : vector<16xi32> to vector<16xf32>
        %i526 = arith.addi %i3, %const_30 : index
        %s527 = memref.load %x_scale[%i526] : memref<?xf32>
        %w528 = vector.broadcast %s527 : f32 to vector<16xf32>
        %y529 = arith.mulf %y525, %b376 : vector<16xf32>
        %y530 = arith.mulf %y529, %w528 : vector<16xf32>
        %y531 = arith.addf %y530, %b377 : vector<16xf32>
        %i532 = arith.muli %i526, %const_19 : index
        %i533 = arith.addi %i532, %const_0 : index
        vector.maskedstore %y[%i533], %m374, %y531 : memref<?xf32>, vector<16xi1>, vector<16xf32>
      }
      %p534 = arith.cmpi slt, %const_31, %i8 : index
      scf.if %p534 {
        %s535 = arith.bitcast %t371 : vector<16xf32> to vector<16xi32>
        %s536 = arith.addi %s535, %b375 : vector<16xi32>
        %y537 = arith.sitofp %s536 : vector<16xi32> to vector<16xf32>
        %i538 = arith.addi %i3, %const_31 : index
        %s539 = memref.load %x_scale[%i538] : memref<?xf32>
        %w540 = vector.broadcast %s539 : f32 to vector<16xf32>
        %y541 = arith.mulf %y537, %b376 : vector<16xf32>
        %y542 = arith.mulf %y541, %w540 : vector<16xf32>
        %y543 = arith.addf %y542, %b377 : vector<16xf32>
        %i544 = arith.muli %i538, %const_19 : index
        %i545 = arith.addi %i544, %const_0 : index
        vector.maskedstore %y[%i545], %m374, %y543 : memref<?xf32>, vector<16xi1>, vector<16xf32>
      }
      %p546 = arith.cmpi slt, %const_32, %i8 : index
      scf.if %p546 {
        %s547 = arith.bitcast %t369 : vector<16xf32> to vector<16xi32>
        %s548 = arith.addi %s547, %b375 : vector<16xi32>
        %y549 = arith.sitofp %s548 : vector<16xi32> to vector<16xf32>
        %i550 = arith.addi %i3, %const_32 : index
        %s551 = memref.load %x_scale[%i550] : memref<?xf32>
        %w552 = vector.broadcast %s551 : f32 to vector<16xf32>
        %y553 = arith.mulf %y549, %b376 : vector<16xf32>
        %y554 = arith.mulf %y553, %w552 : vector<16xf32>
        %y555 = arith.addf %y554, %b377 : vector<16xf32>
        %i556 = arith.muli %i550, %const_19 : index
        %i557 = arith.addi %i556, %const_0 : index
        vector.maskedstore %y[%i557], %m374, %y555 : memref<?xf32>, vector<16xi1>, vector<16xf32>
      }
      %p558 = arith.cmpi slt, %const_33, %i8 : index
      scf.if %p558 {
        %s559 = arith.bitcast %t373 : vector<16xf32> to vector<16xi32>
        %s560 = arith.addi %s559, %b375 : vector<16xi32>
        %y561 = arith.sitofp %s560 : vector<16xi32> to vector<16xf32>
        %i562 = arith.addi %i3, %const_33 : index
        %s563 = memref.load %x_scale[%i562] : memref<?xf32>
        %w564 = vector.broadcast %s563 : f32 to vector<16xf32>
        %y565 = arith.mulf %y561, %b376 : vector<16xf32>
        %y566 = arith.mulf %y565, %w564 : vector<16xf32>
        %y567 = arith.addf %y566, %b377 : vector<16xf32>
        %i568 = arith.muli %i562, %const_19 : index
        %i569 = arith.addi %i568, %const_0 : index
        vector.maskedstore %y[%i569], %m374, %y567 : memref<?xf32>, vector<16xi1>, vector<16xf32>
      }
    }
  }
  return
}
