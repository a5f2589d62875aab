/* A clock that counts emulated instructions, and on QEMU's mps2-an500 what comes before main: vectors, the FPU, semihosting.
   On a host the clock stands still. */
#ifdef __arm__
#define TIMER ((volatile uint32_t *)0x40000000u) /* counts down, 25 MHz */
static uint32_t now(void)
{
    TIMER[0] = 1;
    return 0u - TIMER[1];
}
extern void initialise_monitor_handles(void);
extern _Noreturn void _exit(int status);
extern int main(void);
static void reset(void)
{
    *(volatile uint32_t *)0xe000ed88u |= 0xfu << 20; /* the FPU */
    __asm__ volatile("dsb\n\tisb");
    TIMER[2] = TIMER[1] = 0xffffffffu;
    initialise_monitor_handles();
    _exit(main());
}
__attribute__((section(".vectors"), used)) static void *const vectors[2] = {(void *)0x60fffff0u, (void *)reset};
#else
static uint32_t now(void)
{
    return 0;
}
#endif
