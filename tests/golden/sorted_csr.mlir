func.func @_mlir_sorted_csr(%xs_ptr: memref<1xf32>, %ys_ptr: memref<1xf32>, %values_ptr: memref<1xf32>, %columns_ptr: memref<1xi8>, %counts_ptr: memref<1xi8>, %order_ptr: memref<1xi8>, %start_ptr: memref<1xi64>, %tile_lo: index, %tile_hi: index, %window_lo: index, %window_hi: index) {
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
  %order = memref.reinterpret_cast %order_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xi8> to memref<?xi8>
  %start = memref.reinterpret_cast %start_ptr to offset: [0], sizes: [%const_10], strides: [1] : memref<1xi64> to memref<?xi64>
  scf.for %tile1 = %tile_lo to %tile_hi step %const_0 {
    %i2 = arith.muli %tile1, %const_1 : index
    %i3 = arith.muli %tile1, %const_2 : index
    %s4 = memref.load %start[%const_3] : memref<?xi64>
    %i5 = arith.index_cast %s4 : i64 to index
    %i6 = arith.muli %const_3, %const_4 : index
    %r9:1 = scf.for %window7 = %window_lo to %window_hi step %const_5 iter_args(%a8 = %i5) -> (index) {
      %i10 = arith.muli %window7, %const_6 : index
      %i11 = arith.addi %i10, %const_6 : index
      %i12 = arith.minui %i11, %const_4 : index
      %r15:1 = scf.for %place13 = %i10 to %i12 step %const_5 iter_args(%a14 = %a8) -> (index) {
        %i16 = arith.addi %i6, %place13 : index
        %s17 = memref.load %order[%i16] : memref<?xi8>
        %i18 = arith.index_castui %s17 : i8 to index
        %i19 = arith.addi %i10, %i18 : index
        %s20 = memref.load %counts[%i16] : memref<?xi8>
        %i21 = arith.index_castui %s20 : i8 to index
        %i22 = arith.addi %a14, %i21 : index
        %i23 = arith.muli %i19, %const_6 : index
        %i24 = arith.addi %i3, %i23 : index
        %i25 = arith.addi %i24, %const_3 : index
        %i26 = arith.addi %i24, %const_2 : index
        %i27 = arith.addi %a14, %const_8 : index
        memref.prefetch %values[%i27], read, locality<3>, data : memref<?xf32>
        %i28 = arith.addi %a14, %const_9 : index
        memref.prefetch %values[%i28], read, locality<3>, data : memref<?xf32>
        %i29 = arith.addi %a14, %const_8 : index
        memref.prefetch %columns[%i29], read, locality<3>, data : memref<?xi8>
        %r33:2 = scf.for %p30 = %a14 to %i22 step %const_5 iter_args(%a31 = %const_7, %a32 = %const_7) -> (vector<16xf32>, vector<16xf32>) {
          %s34 = memref.load %columns[%p30] : memref<?xi8>
          %i35 = arith.index_castui %s34 : i8 to index
          %i36 = arith.muli %i35, %const_6 : index
          %i37 = arith.addi %i2, %i36 : index
          %s38 = memref.load %values[%p30] : memref<?xf32>
          %w39 = vector.broadcast %s38 : f32 to vector<16xf32>
          %i40 = arith.addi %i37, %const_3 : index
          %x41 = vector.load %xs[%i40] : memref<?xf32>, vector<16xf32>
          %f42 = vector.fma %w39, %x41, %a31 : vector<16xf32>
          %i43 = arith.addi %i37, %const_1 : index
          %x44 = vector.load %xs[%i43] : memref<?xf32>, vector<16xf32>
          %f45 = vector.fma %w39, %x44, %a32 : vector<16xf32>
          scf.yield %f42, %f45 : vector<16xf32>, vector<16xf32>
        }
        vector.store %r33#0, %ys[%i25] : memref<?xf32>, vector<16xf32>
        vector.store %r33#1, %ys[%i26] : memref<?xf32>, vector<16xf32>
        scf.yield %i22 : index
      }
      scf.yield %r15#0 : index
    }
    scf.for %block46 = %const_5 to %const_0 step %const_5 {
      %i47 = arith.muli %block46, %const_8 : index
      %i48 = arith.addi %i2, %i47 : index
      %s49 = memref.load %start[%block46] : memref<?xi64>
      %i50 = arith.index_cast %s49 : i64 to index
      %i51 = arith.muli %block46, %const_4 : index
      %r54:1 = scf.for %window52 = %window_lo to %window_hi step %const_5 iter_args(%a53 = %i50) -> (index) {
        %i55 = arith.muli %window52, %const_6 : index
        %i56 = arith.addi %i55, %const_6 : index
        %i57 = arith.minui %i56, %const_4 : index
        %r60:1 = scf.for %place58 = %i55 to %i57 step %const_5 iter_args(%a59 = %a53) -> (index) {
          %i61 = arith.addi %i51, %place58 : index
          %s62 = memref.load %order[%i61] : memref<?xi8>
          %i63 = arith.index_castui %s62 : i8 to index
          %i64 = arith.addi %i55, %i63 : index
          %s65 = memref.load %counts[%i61] : memref<?xi8>
          %i66 = arith.index_castui %s65 : i8 to index
          %i67 = arith.addi %a59, %i66 : index
          %i68 = arith.muli %i64, %const_6 : index
          %i69 = arith.addi %i3, %i68 : index
          %i70 = arith.addi %i69, %const_3 : index
          %i71 = arith.addi %i69, %const_2 : index
          %x72 = vector.load %ys[%i70] : memref<?xf32>, vector<16xf32>
          %x73 = vector.load %ys[%i71] : memref<?xf32>, vector<16xf32>
          %i74 = arith.addi %a59, %const_8 : index
          memref.prefetch %values[%i74], read, locality<3>, data : memref<?xf32>
          %i75 = arith.addi %a59, %const_9 : index
          memref.prefetch %values[%i75], read, locality<3>, data : memref<?xf32>
          %i76 = arith.addi %a59, %const_8 : index
          memref.prefetch %columns[%i76], read, locality<3>, data : memref<?xi8>
          %r80:2 = scf.for %p77 = %a59 to %i67 step %const_5 iter_args(%a78 = %x72, %a79 = %x73) -> (vector<16xf32>, vector<16xf32>) {
            %s81 = memref.load %columns[%p77] : memref<?xi8>
            %i82 = arith.index_castui %s81 : i8 to index
            %i83 = arith.muli %i82, %const_6 : index
            %i84 = arith.addi %i48, %i83 : index
            %s85 = memref.load %values[%p77] : memref<?xf32>
            %w86 = vector.broadcast %s85 : f32 to vector<16xf32>
            %i87 = arith.addi %i84, %const_3 : index
            %x88 = vector.load %xs[%i87] : memref<?xf32>, vector<16xf32>
            %f89 = vector.fma %w86, %x88, %a78 : vector<16xf32>
            %i90 = arith.addi %i84, %const_1 : index
            %x91 = vector.load %xs[%i90] : memref<?xf32>, vector<16xf32>
            %f92 = vector.fma %w86, %x91, %a79 : vector<16xf32>
            scf.yield %f89, %f92 : vector<16xf32>, vector<16xf32>
          }
          vector.store %r80#0, %ys[%i70] : memref<?xf32>, vector<16xf32>
          vector.store %r80#1, %ys[%i71] : memref<?xf32>, vector<16xf32>
          scf.yield %i67 : index
        }
        scf.yield %r60#0 : index
      }
    }
  }
  return
}
