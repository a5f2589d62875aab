/* SPDX-License-Identifier: Apache-2.0 */
/* Included before network.c (-include host.h) where the output of each step is looked at. */
#ifndef HOST_H
#define HOST_H
void host_step(unsigned step);
#define NETWORK_HOOK(step) host_step(step)
#endif
