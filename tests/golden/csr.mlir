func.func @_mlir_csr(%xs_ptr: memref<1xf32>, %ys_ptr: memref<1xf32>, %values_ptr: memref<1xf32>, %columns_ptr: memref<1xi8>, %counts_ptr: memref<1xi8>, %start_ptr: memref<1xi64>, %tile_lo: index, %tile_hi: index, %row_lo: index, %row_hi: index) {
  %const_0 = arith.constant 2 : index
  %const_1 = arith.constant 1280 : index
  %const_2 = arith.constant 512 : index
  %const_3 = arith.constant 0 : index
  %const_4 = arith.constant 24 : index
  %const_5 = arith.constant 1 : index
  %const_6 = arith.constant 16 : index
  %const_7 = arith.constant dense<0.0> : vector<16xf32>
  %const_8 = arith.constant 1024 : index
  %const_9 = arith.constant 1040 : index
  %const_10 = arith.constant 1099511627776 : index
  %xs = memref.reinterpret_cast %xs_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xf32> to memref<?xf32>
  %ys = memref.reinterpret_cast %ys_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xf32> to memref<?xf32>
  %values = memref.reinterpret_cast %values_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xf32> to memref<?xf32>
  %columns = memref.reinterpret_cast %columns_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xi8> to memref<?xi8>
  %counts = memref.reinterpret_cast %counts_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xi8> to memref<?xi8>
  %start = memref.reinterpret_cast %start_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xi64> to memref<?xi64>
  scf.for %tile1 = %tile_lo to %tile_hi step %const_0 {
    %i2 = arith.muli %tile1, %const_1 : index
    %i3 = arith.muli %tile1, %const_2 : index
    %s4 = memref.load %start[%const_3] : memref<?xi64>
    %i5 = arith.index_cast %s4 : i64 to index
    %i6 = arith.muli %const_3, %const_4 : index
    %r9:1 = scf.for %row7 = %row_lo to %row_hi step %const_5 iter_args(%a8 = %i5) -> (index) {
      %i10 = arith.addi %i6, %row7 : index
      %s11 = memref.load %counts[%i10] : memref<?xi8>
      %i12 = arith.index_castui %s11 : i8 to index
      %i13 = arith.addi %a8, %i12 : index
      %i14 = arith.muli %row7, %const_6 : index
      %i15 = arith.addi %i3, %i14 : index
      %i16 = arith.addi %i15, %const_3 : index
      %i17 = arith.addi %i15, %const_2 : index
      %i18 = arith.addi %a8, %const_8 : index
      memref.prefetch %values[%i18], read, locality<3>, data : memref<?xf32>
      %i19 = arith.addi %a8, %const_9 : index
      memref.prefetch %values[%i19], read, locality<3>, data : memref<?xf32>
      %i20 = arith.addi %a8, %const_8 : index
      memref.prefetch %columns[%i20], read, locality<3>, data : memref<?xi8>
      %r24:2 = scf.for %p21 = %a8 to %i13 step %const_5 iter_args(%a22 = %const_7, %a23 = %const_7) -> (vector<16xf32>, vector<16xf32>) {
        %s25 = memref.load %columns[%p21] : memref<?xi8>
        %i26 = arith.index_castui %s25 : i8 to index
        %i27 = arith.muli %i26, %const_6 : index
        %i28 = arith.addi %i2, %i27 : index
        %s29 = memref.load %values[%p21] : memref<?xf32>
        %w30 = vector.broadcast %s29 : f32 to vector<16xf32>
        %i31 = arith.addi %i28, %const_3 : index
        %x32 = vector.load %xs[%i31] : memref<?xf32>, vector<16xf32>
        %f33 = vector.fma %w30, %x32, %a22 : vector<16xf32>
        %i34 = arith.addi %i28, %const_1 : index
        %x35 = vector.load %xs[%i34] : memref<?xf32>, vector<16xf32>
        %f36 = vector.fma %w30, %x35, %a23 : vector<16xf32>
        scf.yield %f33, %f36 : vector<16xf32>, vector<16xf32>
      }
      vector.store %r24#0, %ys[%i16] : memref<?xf32>, vector<16xf32>
      vector.store %r24#1, %ys[%i17] : memref<?xf32>, vector<16xf32>
      scf.yield %i13 : index
    }
    scf.for %block37 = %const_5 to %const_0 step %const_5 {
      %i38 = arith.muli %block37, %const_8 : index
      %i39 = arith.addi %i2, %i38 : index
      %s40 = memref.load %start[%block37] : memref<?xi64>
      %i41 = arith.index_cast %s40 : i64 to index
      %i42 = arith.muli %block37, %const_4 : index
      %r45:1 = scf.for %row43 = %row_lo to %row_hi step %const_5 iter_args(%a44 = %i41) -> (index) {
        %i46 = arith.addi %i42, %row43 : index
        %s47 = memref.load %counts[%i46] : memref<?xi8>
        %i48 = arith.index_castui %s47 : i8 to index
        %i49 = arith.addi %a44, %i48 : index
        %i50 = arith.muli %row43, %const_6 : index
        %i51 = arith.addi %i3, %i50 : index
        %i52 = arith.addi %i51, %const_3 : index
        %i53 = arith.addi %i51, %const_2 : index
        %x54 = vector.load %ys[%i52] : memref<?xf32>, vector<16xf32>
        %x55 = vector.load %ys[%i53] : memref<?xf32>, vector<16xf32>
        %i56 = arith.addi %a44, %const_8 : index
        memref.prefetch %values[%i56], read, locality<3>, data : memref<?xf32>
        %i57 = arith.addi %a44, %const_9 : index
        memref.prefetch %values[%i57], read, locality<3>, data : memref<?xf32>
        %i58 = arith.addi %a44, %const_8 : index
        memref.prefetch %columns[%i58], read, locality<3>, data : memref<?xi8>
        %r62:2 = scf.for %p59 = %a44 to %i49 step %const_5 iter_args(%a60 = %x54, %a61 = %x55) -> (vector<16xf32>, vector<16xf32>) {
          %s63 = memref.load %columns[%p59] : memref<?xi8>
          %i64 = arith.index_castui %s63 : i8 to index
          %i65 = arith.muli %i64, %const_6 : index
          %i66 = arith.addi %i39, %i65 : index
          %s67 = memref.load %values[%p59] : memref<?xf32>
          %w68 = vector.broadcast %s67 : f32 to vector<16xf32>
          %i69 = arith.addi %i66, %const_3 : index
          %x70 = vector.load %xs[%i69] : memref<?xf32>, vector<16xf32>
          %f71 = vector.fma %w68, %x70, %a60 : vector<16xf32>
          %i72 = arith.addi %i66, %const_1 : index
          %x73 = vector.load %xs[%i72] : memref<?xf32>, vector<16xf32>
          %f74 = vector.fma %w68, %x73, %a61 : vector<16xf32>
          scf.yield %f71, %f74 : vector<16xf32>, vector<16xf32>
        }
        vector.store %r62#0, %ys[%i52] : memref<?xf32>, vector<16xf32>
        vector.store %r62#1, %ys[%i53] : memref<?xf32>, vector<16xf32>
        scf.yield %i49 : index
      }
    }
  }
  return
}
