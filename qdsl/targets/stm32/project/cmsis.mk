# SPDX-License-Identifier: Apache-2.0
# Functions of CMSIS-NN compute convolutions and matrices: `make CMSIS_NN=/path/to/CMSIS-NN` names a checkout of it, whose
# sources are compiled with the flags here. They round as the reference does; with CMSIS_NN_ROUNDING=single once instead
# of twice, which is faster and no longer what the reference computes.
ifneq ($(MAKECMDGOALS),clean)
ifeq ($(wildcard $(CMSIS_NN)/Include/arm_nnfunctions.h),)
$(error there is no CMSIS-NN at "$(CMSIS_NN)": make CMSIS_NN=/path/to/CMSIS-NN)
endif
endif
CMSIS = $(abspath $(CMSIS_NN))
CMSIS_FLAGS = -O3 -ffunction-sections -fdata-sections -w $(if $(filter single,$(CMSIS_NN_ROUNDING)),-DCMSIS_NN_USE_SINGLE_ROUNDING)
CMSIS_ALL = $(wildcard $(CMSIS)/Source/ConvolutionFunctions/*.c $(CMSIS)/Source/FullyConnectedFunctions/*.c \
	$(CMSIS)/Source/NNSupportFunctions/*.c)
CMSIS_SOURCES = $(filter-out %_s16.c %_s4.c %_f16.c %_f32.c %_flt.c,$(CMSIS_ALL)) $(filter %_s8_s16.c,$(CMSIS_ALL))
INCLUDES = -isystem $(CMSIS)/Include

LIBRARY_host = $(OUT)/cmsis_host.a
LIBRARY_m7 = $(OUT)/cmsis_m7.a
LIBRARY_m4 = $(OUT)/cmsis_m4.a
LIBRARY_board = $(OUT)/cmsis_board.a
COMPILE_host = $(CC)
COMPILE_m7 = $(ARM)gcc $(M7)
COMPILE_m4 = $(ARM)gcc $(M4)
COMPILE_board = $(ARM)gcc $(BOARD)
ARCHIVE_host = $(AR)
ARCHIVE_m7 = $(ARM)ar
ARCHIVE_m4 = $(ARM)ar
ARCHIVE_board = $(ARM)ar

$(OUT)/cmsis_%.a: | $(OUT)
	rm -rf $@ $(OUT)/cmsis_$* && mkdir $(OUT)/cmsis_$*
	cd $(OUT)/cmsis_$* && $(COMPILE_$*) $(CMSIS_FLAGS) -I$(CMSIS)/Include -c $(CMSIS_SOURCES)
	$(ARCHIVE_$*) rcs $@ $(OUT)/cmsis_$*/*.o
