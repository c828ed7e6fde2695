func.func @_mlir_finish(%sums_ptr: memref<1xi32>, %weight_scale_ptr: memref<1xf32>, %bias_ptr: memref<1xf32>, %x_scale_ptr: memref<1xf32>, %y_ptr: memref<1xf32>, %row_lo: index, %row_hi: index) {
  %const_0 = arith.constant 2 : index
  %const_1 = arith.constant 1 : index
  %const_2 = arith.constant 18 : index
  %const_3 = arith.constant 0 : index
  %const_4 = arith.constant 16 : index
  %const_5 = arith.constant dense<0> : vector<16xi32>
  %const_6 = arith.constant dense<0.0> : vector<16xf32>
  %const_7 = arith.constant 1099511627776 : index
  %sums = memref.reinterpret_cast %sums_ptr to offset: [0], sizes: [%const_7], strides: [1] : memref<1xi32> to memref<?xi32>
  %weight_scale = memref.reinterpret_cast %weight_scale_ptr to offset: [0], sizes: [%const_7], strides: [1] : memref<1xf32> to memref<?xf32>
  %bias = memref.reinterpret_cast %bias_ptr to offset: [0], sizes: [%const_7], strides: [1] : memref<1xf32> to memref<?xf32>
  %x_scale = memref.reinterpret_cast %x_scale_ptr to offset: [0], sizes: [%const_7], strides: [1] : memref<1xf32> to memref<?xf32>
  %y = memref.reinterpret_cast %y_ptr to offset: [0], sizes: [%const_7], strides: [1] : memref<1xf32> to memref<?xf32>
  %m1 = vector.create_mask %const_0 : vector<16xi1>
  scf.for %row2 = %row_lo to %row_hi step %const_1 {
    %i3 = arith.muli %row2, %const_2 : index
    %s4 = memref.load %x_scale[%row2] : memref<?xf32>
    %w5 = vector.broadcast %s4 : f32 to vector<16xf32>
    scf.for %k6 = %const_3 to %const_4 step %const_4 {
      %i7 = arith.addi %i3, %k6 : index
      %x8 = vector.load %sums[%i7] : memref<?xi32>, vector<16xi32>
      %f9 = arith.sitofp %x8 : vector<16xi32> to vector<16xf32>
      %x10 = vector.load %bias[%k6] : memref<?xf32>, vector<16xf32>
      %x11 = vector.load %weight_scale[%k6] : memref<?xf32>, vector<16xf32>
      %y12 = arith.mulf %f9, %x11 : vector<16xf32>
      %y13 = arith.mulf %y12, %w5 : vector<16xf32>
      %y14 = arith.addf %y13, %x10 : vector<16xf32>
      vector.store %y14, %y[%i7] : memref<?xf32>, vector<16xf32>
    }
    %i15 = arith.addi %i3, %const_4 : index
    %x16 = vector.maskedload %sums[%i15], %m1, %const_5 : memref<?xi32>, vector<16xi1>, vector<16xi32> into vector<16xi32>
    %f17 = arith.sitofp %x16 : vector<16xi32> to vector<16xf32>
    %x18 = vector.maskedload %bias[%const_4], %m1, %const_6 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
    %x19 = vector.maskedload %weight_scale[%const_4], %m1, %const_6 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
    %y20 = arith.mulf %f17, %x19 : vector<16xf32>
    %y21 = arith.mulf %y20, %w5 : vector<16xf32>
    %y22 = arith.addf %y21, %x18 : vector<16xf32>
    vector.maskedstore %y[%i15], %m1, %y22 : memref<?xf32>, vector<16xi1>, vector<16xf32>
  }
  return
}
