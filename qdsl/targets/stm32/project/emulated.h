/* SPDX-License-Identifier: Apache-2.0 */
/* Included before network.c (-include emulated.h) where the instructions of each step are counted. */
#ifndef EMULATED_H
#define EMULATED_H
void emulated_step(unsigned step);
#define NETWORK_HOOK(step) emulated_step(step)
#endif
