func.func @_mlir_gemv(%x_ptr: memref<1xf32>, %w_ptr: memref<1xf32>, %y_ptr: memref<1xf32>, %row_lo: index, %row_hi: index) {
  %const_0 = arith.constant 4 : index
  %const_1 = arith.constant 40 : index
  %const_2 = arith.constant 0 : index
  %const_3 = arith.constant 32 : index
  %const_4 = arith.constant 16 : index
  %const_5 = arith.constant dense<0.0> : vector<16xf32>
  %const_6 = arith.constant 80 : index
  %const_7 = arith.constant 120 : index
  %const_8 = arith.constant 8 : index
  %const_9 = arith.constant 72 : index
  %const_10 = arith.constant 112 : index
  %const_11 = arith.constant 152 : index
  %const_12 = arith.constant 6 : index
  %const_13 = arith.constant 1 : index
  %const_14 = arith.constant 7 : index
  %const_15 = arith.constant 2 : index
  %const_16 = arith.constant 3 : index
  %const_17 = arith.constant 9 : index
  %const_18 = arith.constant 1099511627776 : index
  %x = memref.reinterpret_cast %x_ptr to offset: [0], sizes: [%const_18], strides: [1] : memref<1xf32> to memref<?xf32>
  %w = memref.reinterpret_cast %w_ptr to offset: [0], sizes: [%const_18], strides: [1] : memref<1xf32> to memref<?xf32>
  %y = memref.reinterpret_cast %y_ptr to offset: [0], sizes: [%const_18], strides: [1] : memref<1xf32> to memref<?xf32>
  %i1 = arith.subi %row_hi, %row_lo : index
  %i2 = arith.divui %i1, %const_0 : index
  %i3 = arith.muli %i2, %const_0 : index
  %i4 = arith.addi %row_lo, %i3 : index
  scf.for %n5 = %row_lo to %i4 step %const_0 {
    %i6 = arith.muli %n5, %const_1 : index
    %r16:8 = scf.for %k7 = %const_2 to %const_3 step %const_4 iter_args(%a8 = %const_5, %a9 = %const_5, %a10 = %const_5, %a11 = %const_5, %a12 = %const_5, %a13 = %const_5, %a14 = %const_5, %a15 = %const_5) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>) {
      %i17 = arith.addi %k7, %const_2 : index
      %i18 = arith.addi %i17, %const_2 : index
      %x19 = vector.load %x[%i18] : memref<?xf32>, vector<16xf32>
      %i20 = arith.addi %i17, %const_1 : index
      %x21 = vector.load %x[%i20] : memref<?xf32>, vector<16xf32>
      %i22 = arith.addi %i6, %const_2 : index
      %i23 = arith.addi %i22, %i17 : index
      %x24 = vector.load %w[%i23] : memref<?xf32>, vector<16xf32>
      %f25 = vector.fma %x24, %x19, %a8 : vector<16xf32>
      %f26 = vector.fma %x24, %x21, %a9 : vector<16xf32>
      %i27 = arith.addi %i6, %const_1 : index
      %i28 = arith.addi %i27, %i17 : index
      %x29 = vector.load %w[%i28] : memref<?xf32>, vector<16xf32>
      %f30 = vector.fma %x29, %x19, %a10 : vector<16xf32>
      %f31 = vector.fma %x29, %x21, %a11 : vector<16xf32>
      %i32 = arith.addi %i6, %const_6 : index
      %i33 = arith.addi %i32, %i17 : index
      %x34 = vector.load %w[%i33] : memref<?xf32>, vector<16xf32>
      %f35 = vector.fma %x34, %x19, %a12 : vector<16xf32>
      %f36 = vector.fma %x34, %x21, %a13 : vector<16xf32>
      %i37 = arith.addi %i6, %const_7 : index
      %i38 = arith.addi %i37, %i17 : index
      %x39 = vector.load %w[%i38] : memref<?xf32>, vector<16xf32>
      %f40 = vector.fma %x39, %x19, %a14 : vector<16xf32>
      %f41 = vector.fma %x39, %x21, %a15 : vector<16xf32>
      scf.yield %f25, %f26, %f30, %f31, %f35, %f36, %f40, %f41 : vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>
    }
    %m42 = vector.create_mask %const_8 : vector<16xi1>
    %x43 = vector.maskedload %x[%const_3], %m42, %const_5 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
    %x44 = vector.maskedload %x[%const_9], %m42, %const_5 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
    %i45 = arith.addi %i6, %const_3 : index
    %x46 = vector.maskedload %w[%i45], %m42, %const_5 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
    %f47 = vector.fma %x46, %x43, %r16#0 : vector<16xf32>
    %f48 = vector.fma %x46, %x44, %r16#1 : vector<16xf32>
    %i49 = arith.addi %i6, %const_9 : index
    %x50 = vector.maskedload %w[%i49], %m42, %const_5 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
    %f51 = vector.fma %x50, %x43, %r16#2 : vector<16xf32>
    %f52 = vector.fma %x50, %x44, %r16#3 : vector<16xf32>
    %i53 = arith.addi %i6, %const_10 : index
    %x54 = vector.maskedload %w[%i53], %m42, %const_5 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
    %f55 = vector.fma %x54, %x43, %r16#4 : vector<16xf32>
    %f56 = vector.fma %x54, %x44, %r16#5 : vector<16xf32>
    %i57 = arith.addi %i6, %const_11 : index
    %x58 = vector.maskedload %w[%i57], %m42, %const_5 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
    %f59 = vector.fma %x58, %x43, %r16#6 : vector<16xf32>
    %f60 = vector.fma %x58, %x44, %r16#7 : vector<16xf32>
    %s61 = vector.reduction <add>, %f47 fastmath<reassoc> : vector<16xf32> into f32
    %i62 = arith.addi %n5, %const_2 : index
    memref.store %s61, %y[%i62] : memref<?xf32>
    %s63 = vector.reduction <add>, %f48 fastmath<reassoc> : vector<16xf32> into f32
    %i64 = arith.addi %n5, %const_12 : index
    memref.store %s63, %y[%i64] : memref<?xf32>
    %s65 = vector.reduction <add>, %f51 fastmath<reassoc> : vector<16xf32> into f32
    %i66 = arith.addi %n5, %const_13 : index
    memref.store %s65, %y[%i66] : memref<?xf32>
    %s67 = vector.reduction <add>, %f52 fastmath<reassoc> : vector<16xf32> into f32
    %i68 = arith.addi %n5, %const_14 : index
    memref.store %s67, %y[%i68] : memref<?xf32>
    %s69 = vector.reduction <add>, %f55 fastmath<reassoc> : vector<16xf32> into f32
    %i70 = arith.addi %n5, %const_15 : index
    memref.store %s69, %y[%i70] : memref<?xf32>
    %s71 = vector.reduction <add>, %f56 fastmath<reassoc> : vector<16xf32> into f32
    %i72 = arith.addi %n5, %const_8 : index
    memref.store %s71, %y[%i72] : memref<?xf32>
    %s73 = vector.reduction <add>, %f59 fastmath<reassoc> : vector<16xf32> into f32
    %i74 = arith.addi %n5, %const_16 : index
    memref.store %s73, %y[%i74] : memref<?xf32>
    %s75 = vector.reduction <add>, %f60 fastmath<reassoc> : vector<16xf32> into f32
    %i76 = arith.addi %n5, %const_17 : index
    memref.store %s75, %y[%i76] : memref<?xf32>
  }
  scf.for %n77 = %i4 to %row_hi step %const_13 {
    %i78 = arith.muli %n77, %const_1 : index
    %r84:4 = scf.for %k79 = %const_2 to %const_3 step %const_3 iter_args(%a80 = %const_5, %a81 = %const_5, %a82 = %const_5, %a83 = %const_5) -> (vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>) {
      %i85 = arith.addi %k79, %const_2 : index
      %i86 = arith.addi %i85, %const_2 : index
      %x87 = vector.load %x[%i86] : memref<?xf32>, vector<16xf32>
      %i88 = arith.addi %i85, %const_1 : index
      %x89 = vector.load %x[%i88] : memref<?xf32>, vector<16xf32>
      %i90 = arith.addi %i78, %const_2 : index
      %i91 = arith.addi %i90, %i85 : index
      %x92 = vector.load %w[%i91] : memref<?xf32>, vector<16xf32>
      %f93 = vector.fma %x92, %x87, %a80 : vector<16xf32>
      %f94 = vector.fma %x92, %x89, %a82 : vector<16xf32>
      %i95 = arith.addi %k79, %const_4 : index
      %i96 = arith.addi %i95, %const_2 : index
      %x97 = vector.load %x[%i96] : memref<?xf32>, vector<16xf32>
      %i98 = arith.addi %i95, %const_1 : index
      %x99 = vector.load %x[%i98] : memref<?xf32>, vector<16xf32>
      %i100 = arith.addi %i78, %const_2 : index
      %i101 = arith.addi %i100, %i95 : index
      %x102 = vector.load %w[%i101] : memref<?xf32>, vector<16xf32>
      %f103 = vector.fma %x102, %x97, %a81 : vector<16xf32>
      %f104 = vector.fma %x102, %x99, %a83 : vector<16xf32>
      scf.yield %f93, %f103, %f94, %f104 : vector<16xf32>, vector<16xf32>, vector<16xf32>, vector<16xf32>
    }
    %f105 = arith.addf %r84#0, %r84#1 : vector<16xf32>
    %f106 = arith.addf %r84#2, %r84#3 : vector<16xf32>
    %m107 = vector.create_mask %const_8 : vector<16xi1>
    %x108 = vector.maskedload %x[%const_3], %m107, %const_5 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
    %x109 = vector.maskedload %x[%const_9], %m107, %const_5 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
    %i110 = arith.addi %i78, %const_3 : index
    %x111 = vector.maskedload %w[%i110], %m107, %const_5 : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
    %f112 = vector.fma %x111, %x108, %f105 : vector<16xf32>
    %f113 = vector.fma %x111, %x109, %f106 : vector<16xf32>
    %s114 = vector.reduction <add>, %f112 fastmath<reassoc> : vector<16xf32> into f32
    %i115 = arith.addi %n77, %const_2 : index
    memref.store %s114, %y[%i115] : memref<?xf32>
    %s116 = vector.reduction <add>, %f113 fastmath<reassoc> : vector<16xf32> into f32
    %i117 = arith.addi %n77, %const_12 : index
    memref.store %s116, %y[%i117] : memref<?xf32>
  }
  return
}
