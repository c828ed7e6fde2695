func.func @_mlir_octets_of_pixels(%x_ptr: memref<1xf32>, %most_ptr: memref<1xi32>, %lines_ptr: memref<1xi64>, %q_ptr: memref<1xi8>, %scale_ptr: memref<1xf32>, %parts: index, %row: index, %lo: index, %hi: index) {
  %const_0 = arith.constant 0 : index
  %const_1 = arith.constant 226492416 : i32
  %const_2 = arith.constant 1 : index
  %const_3 = arith.constant 2139095040 : i32
  %const_4 = arith.constant 127.0 : f32
  %const_5 = arith.constant 0x7FC00000 : f32
  %const_6 = arith.constant 16 : index
  %const_7 = arith.constant 64 : index
  %const_8 = arith.constant dense<1.258304000e+07> : vector<16xf32>
  %const_9 = arith.constant 32 : index
  %const_10 = arith.constant 48 : index
  %const_11 = arith.constant dense<0.0> : vector<16xf32>
  %const_12 = arith.constant 1099511627776 : index
  %x = memref.reinterpret_cast %x_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xf32> to memref<?xf32>
  %most = memref.reinterpret_cast %most_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xi32> to memref<?xi32>
  %lines = memref.reinterpret_cast %lines_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xi64> to memref<?xi64>
  %q = memref.reinterpret_cast %q_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xi8> to memref<?xi8>
  %scale = memref.reinterpret_cast %scale_ptr to offset: [0], sizes: [%const_12], strides: [1] : memref<1xf32> to memref<?xf32>
  %r3:1 = scf.for %p1 = %const_0 to %parts step %const_2 iter_args(%a2 = %const_1) -> (i32) {
    %s4 = memref.load %most[%p1] : memref<?xi32>
    %b5 = arith.maxsi %a2, %s4 : i32
    scf.yield %b5 : i32
  }
  %p6 = arith.cmpi slt, %r3#0, %const_3 : i32
  %s7 = arith.bitcast %r3#0 : i32 to f32
  %s8 = arith.divf %s7, %const_4 : f32
  %s9 = arith.select %p6, %s8, %const_5 : f32
  memref.store %s9, %scale[%const_0] : memref<?xf32>
  %s10 = arith.divf %const_4, %s7 : f32
  %w11 = vector.broadcast %s10 : f32 to vector<16xf32>
  %i12 = arith.divui %row, %const_7 : index
  %i13 = arith.muli %i12, %const_7 : index
  scf.for %h14 = %lo to %hi step %const_2 {
    %s15 = memref.load %lines[%h14] : memref<?xi64>
    %i16 = arith.index_cast %s15 : i64 to index
    %p17 = arith.cmpi sge, %i16, %const_0 : index
    scf.if %p17 {
      %i18 = arith.muli %h14, %row : index
      scf.for %i19 = %const_0 to %i13 step %const_7 {
        %i20 = arith.addi %i19, %const_0 : index
        %i21 = arith.addi %i18, %i20 : index
        %i22 = arith.addi %i16, %i20 : index
        %x23 = vector.load %x[%i21] : memref<?xf32>, vector<16xf32>
        %s24 = arith.mulf %x23, %w11 : vector<16xf32>
        %s25 = arith.addf %s24, %const_8 : vector<16xf32>
        %b26 = arith.bitcast %s25 : vector<16xf32> to vector<16xi32>
        %q27 = arith.trunci %b26 : vector<16xi32> to vector<16xi8>
        vector.store %q27, %q[%i22] : memref<?xi8>, vector<16xi8>
        %i28 = arith.addi %i19, %const_6 : index
        %i29 = arith.addi %i18, %i28 : index
        %i30 = arith.addi %i16, %i28 : index
        %x31 = vector.load %x[%i29] : memref<?xf32>, vector<16xf32>
        %s32 = arith.mulf %x31, %w11 : vector<16xf32>
        %s33 = arith.addf %s32, %const_8 : vector<16xf32>
        %b34 = arith.bitcast %s33 : vector<16xf32> to vector<16xi32>
        %q35 = arith.trunci %b34 : vector<16xi32> to vector<16xi8>
        vector.store %q35, %q[%i30] : memref<?xi8>, vector<16xi8>
        %i36 = arith.addi %i19, %const_9 : index
        %i37 = arith.addi %i18, %i36 : index
        %i38 = arith.addi %i16, %i36 : index
        %x39 = vector.load %x[%i37] : memref<?xf32>, vector<16xf32>
        %s40 = arith.mulf %x39, %w11 : vector<16xf32>
        %s41 = arith.addf %s40, %const_8 : vector<16xf32>
        %b42 = arith.bitcast %s41 : vector<16xf32> to vector<16xi32>
        %q43 = arith.trunci %b42 : vector<16xi32> to vector<16xi8>
        vector.store %q43, %q[%i38] : memref<?xi8>, vector<16xi8>
        %i44 = arith.addi %i19, %const_10 : index
        %i45 = arith.addi %i18, %i44 : index
        %i46 = arith.addi %i16, %i44 : index
        %x47 = vector.load %x[%i45] : memref<?xf32>, vector<16xf32>
        %s48 = arith.mulf %x47, %w11 : vector<16xf32>
        %s49 = arith.addf %s48, %const_8 : vector<16xf32>
        %b50 = arith.bitcast %s49 : vector<16xf32> to vector<16xi32>
        %q51 = arith.trunci %b50 : vector<16xi32> to vector<16xi8>
        vector.store %q51, %q[%i46] : memref<?xi8>, vector<16xi8>
      }
      scf.for %i52 = %i13 to %row step %const_6 {
        %i53 = arith.addi %i18, %i52 : index
        %i54 = arith.addi %i16, %i52 : index
        %i55 = arith.subi %row, %i52 : index
        %m56 = vector.create_mask %i55 : vector<16xi1>
        %x57 = vector.maskedload %x[%i53], %m56, %const_11 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
        %s58 = arith.mulf %x57, %w11 : vector<16xf32>
        %s59 = arith.addf %s58, %const_8 : vector<16xf32>
        %b60 = arith.bitcast %s59 : vector<16xf32> to vector<16xi32>
        %q61 = arith.trunci %b60 : vector<16xi32> to vector<16xi8>
        vector.maskedstore %q[%i54], %m56, %q61 : memref<?xi8>, vector<16xi1>, vector<16xi8>
      }
    }
  }
  return
}
func.func @_mlir_pixels8(%ys_ptr: memref<1xi32>, %shift_ptr: memref<1xi32>, %weight_scale_ptr: memref<1xf32>, %bias_ptr: memref<1xf32>, %x_scale_ptr: memref<1xf32>, %residual_ptr: memref<1xf32>, %y_ptr: memref<1xf32>, %runs_ptr: memref<1xi64>, %most_ptr: memref<1xi32>, %part: index, %stride: index, %channels: index, %base: index, %run_lo: index, %run_hi: index, %n_lo: index, %n_hi: index) {
  %const_0 = arith.constant 16 : index
  %const_1 = arith.constant dense<0> : vector<16xi32>
  %const_2 = arith.constant 0 : index
  %const_3 = arith.constant 1 : index
  %const_4 = arith.constant 3 : index
  %const_5 = arith.constant 2 : index
  %const_6 = arith.constant dense<0.0> : vector<16xf32>
  %const_7 = arith.constant dense<2147483647> : vector<16xi32>
  %const_8 = arith.constant 1099511627776 : index
  %ys = memref.reinterpret_cast %ys_ptr to offset: [0], sizes: [%const_8], strides: [1] : memref<1xi32> to memref<?xi32>
  %shift = memref.reinterpret_cast %shift_ptr to offset: [0], sizes: [%const_8], strides: [1] : memref<1xi32> to memref<?xi32>
  %weight_scale = memref.reinterpret_cast %weight_scale_ptr to offset: [0], sizes: [%const_8], strides: [1] : memref<1xf32> to memref<?xf32>
  %bias = memref.reinterpret_cast %bias_ptr to offset: [0], sizes: [%const_8], strides: [1] : memref<1xf32> to memref<?xf32>
  %x_scale = memref.reinterpret_cast %x_scale_ptr to offset: [0], sizes: [%const_8], strides: [1] : memref<1xf32> to memref<?xf32>
  %residual = memref.reinterpret_cast %residual_ptr to offset: [0], sizes: [%const_8], strides: [1] : memref<1xf32> to memref<?xf32>
  %y = memref.reinterpret_cast %y_ptr to offset: [0], sizes: [%const_8], strides: [1] : memref<1xf32> to memref<?xf32>
  %runs = memref.reinterpret_cast %runs_ptr to offset: [0], sizes: [%const_8], strides: [1] : memref<1xi64> to memref<?xi64>
  %most = memref.reinterpret_cast %most_ptr to offset: [0], sizes: [%const_8], strides: [1] : memref<1xi32> to memref<?xi32>
  %s1 = memref.load %x_scale[%const_2] : memref<?xf32>
  %w2 = vector.broadcast %s1 : f32 to vector<16xf32>
  %i3 = arith.divui %n_hi, %const_0 : index
  %i4 = arith.muli %i3, %const_0 : index
  %i5 = arith.subi %n_hi, %i4 : index
  %m6 = vector.create_mask %i5 : vector<16xi1>
  %r9:1 = scf.for %run7 = %run_lo to %run_hi step %const_3 iter_args(%a8 = %const_1) -> (vector<16xi32>) {
    %i10 = arith.muli %run7, %const_4 : index
    %i11 = arith.addi %i10, %const_2 : index
    %s12 = memref.load %runs[%i11] : memref<?xi64>
    %i13 = arith.index_cast %s12 : i64 to index
    %i14 = arith.muli %run7, %const_4 : index
    %i15 = arith.addi %i14, %const_3 : index
    %s16 = memref.load %runs[%i15] : memref<?xi64>
    %i17 = arith.index_cast %s16 : i64 to index
    %i18 = arith.muli %run7, %const_4 : index
    %i19 = arith.addi %i18, %const_5 : index
    %s20 = memref.load %runs[%i19] : memref<?xi64>
    %i21 = arith.index_cast %s20 : i64 to index
    %r24:1 = scf.for %sum22 = %i13 to %i17 step %const_3 iter_args(%a23 = %a8) -> (vector<16xi32>) {
      %i25 = arith.subi %sum22, %base : index
      %i26 = arith.muli %i25, %stride : index
      %i27 = arith.addi %sum22, %i21 : index
      %i28 = arith.muli %i27, %channels : index
      %r31:1 = scf.for %n29 = %n_lo to %i4 step %const_0 iter_args(%a30 = %a23) -> (vector<16xi32>) {
        %i32 = arith.addi %i26, %n29 : index
        %x33 = vector.load %ys[%i32] : memref<?xi32>, vector<16xi32>
        %x34 = vector.load %shift[%n29] : memref<?xi32>, vector<16xi32>
        %s35 = arith.addi %x33, %x34 : vector<16xi32>
        %y36 = arith.sitofp %s35 : vector<16xi32> to vector<16xf32>
        %x37 = vector.load %bias[%n29] : memref<?xf32>, vector<16xf32>
        %x38 = vector.load %weight_scale[%n29] : memref<?xf32>, vector<16xf32>
        %y39 = arith.mulf %y36, %x38 : vector<16xf32>
        %y40 = arith.mulf %y39, %w2 : vector<16xf32>
        %y41 = arith.addf %y40, %x37 : vector<16xf32>
        %i42 = arith.addi %i28, %n29 : index
        %x43 = vector.load %residual[%i42] : memref<?xf32>, vector<16xf32>
        %y44 = arith.addf %y41, %x43 : vector<16xf32>
        %m45 = arith.cmpf ogt, %const_6, %y44 : vector<16xf32>
        %e46 = arith.select %m45, %const_6, %y44 : vector<16xi1>, vector<16xf32>
        %b47 = arith.bitcast %e46 : vector<16xf32> to vector<16xi32>
        %b48 = arith.andi %b47, %const_7 : vector<16xi32>
        vector.store %e46, %y[%i42] : memref<?xf32>, vector<16xf32>
        %b49 = arith.maxsi %a30, %b48 : vector<16xi32>
        scf.yield %b49 : vector<16xi32>
      }
      %i50 = arith.addi %i26, %i4 : index
      %x51 = vector.load %ys[%i50] : memref<?xi32>, vector<16xi32>
      %x52 = vector.maskedload %shift[%i4], %m6, %const_1 : memref<?xi32>, vector<16xi1>, vector<16xi32> into vector<16xi32>
      %s53 = arith.addi %x51, %x52 : vector<16xi32>
      %y54 = arith.sitofp %s53 : vector<16xi32> to vector<16xf32>
      %x55 = vector.maskedload %bias[%i4], %m6, %const_6 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
      %x56 = vector.maskedload %weight_scale[%i4], %m6, %const_6 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
      %y57 = arith.mulf %y54, %x56 : vector<16xf32>
      %y58 = arith.mulf %y57, %w2 : vector<16xf32>
      %y59 = arith.addf %y58, %x55 : vector<16xf32>
      %i60 = arith.addi %i28, %i4 : index
      %r61 = vector.maskedload %residual[%i60], %m6, %const_6 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
      %y62 = arith.addf %y59, %r61 : vector<16xf32>
      %m63 = arith.cmpf ogt, %const_6, %y62 : vector<16xf32>
      %e64 = arith.select %m63, %const_6, %y62 : vector<16xi1>, vector<16xf32>
      %b65 = arith.bitcast %e64 : vector<16xf32> to vector<16xi32>
      %b66 = arith.andi %b65, %const_7 : vector<16xi32>
      vector.maskedstore %y[%i60], %m6, %e64 : memref<?xf32>, vector<16xi1>, vector<16xf32>
      %b67 = arith.select %m6, %b66, %const_1 : vector<16xi1>, vector<16xi32>
      %b68 = arith.maxsi %r31#0, %b67 : vector<16xi32>
      scf.yield %b68 : vector<16xi32>
    }
    scf.yield %r24#0 : vector<16xi32>
  }
  %b69 = vector.reduction <maxsi>, %r9#0 : vector<16xi32> into i32
  %s70 = memref.load %most[%part] : memref<?xi32>
  %b71 = arith.maxsi %b69, %s70 : i32
  memref.store %b71, %most[%part] : memref<?xi32>
  return
}
