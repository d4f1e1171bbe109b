/** What the program prints is compared without colours, also at a terminal, where vitest says FORCE_COLOR to what the tests start. */
delete process.env['FORCE_COLOR'];
