# SPDX-License-Identifier: Apache-2.0
# Functions of CMSIS-NN compute convolutions and matrices: -DCMSIS_NN=/path/to/CMSIS-NN names a checkout of it, whose
# sources are compiled with the flags here. With -DCMSIS_NN_SINGLE_ROUNDING=ON they round once instead of twice, which is
# faster and no longer what the reference computes.
set(CMSIS_NN "" CACHE PATH "a checkout of CMSIS-NN")
option(CMSIS_NN_SINGLE_ROUNDING "round once instead of twice" OFF)
if(NOT EXISTS "${CMSIS_NN}/Include/arm_nnfunctions.h")
  message(FATAL_ERROR "there is no CMSIS-NN at \"${CMSIS_NN}\": -DCMSIS_NN=/path/to/CMSIS-NN")
endif()
if(NOT TARGET network_cmsis_nn) # of two networks in one project the first brings it
  file(GLOB NETWORK_CMSIS_NN "${CMSIS_NN}/Source/ConvolutionFunctions/*.c" "${CMSIS_NN}/Source/FullyConnectedFunctions/*.c"
       "${CMSIS_NN}/Source/NNSupportFunctions/*.c")
  set(NETWORK_CMSIS_NN_BOTH ${NETWORK_CMSIS_NN})
  list(FILTER NETWORK_CMSIS_NN EXCLUDE REGEX "_(s16|s4|f16|f32|flt)\\.c$")
  list(FILTER NETWORK_CMSIS_NN_BOTH INCLUDE REGEX "_s8_s16\\.c$")
  add_library(network_cmsis_nn STATIC ${NETWORK_CMSIS_NN} ${NETWORK_CMSIS_NN_BOTH})
  target_include_directories(network_cmsis_nn SYSTEM PUBLIC "${CMSIS_NN}/Include")
  target_compile_options(network_cmsis_nn PRIVATE -O3 -ffunction-sections -fdata-sections -w)
  if(CMSIS_NN_SINGLE_ROUNDING)
    target_compile_definitions(network_cmsis_nn PRIVATE CMSIS_NN_USE_SINGLE_ROUNDING)
  endif()
endif()
target_link_libraries(${NETWORK_LIBRARY} PUBLIC network_cmsis_nn)
