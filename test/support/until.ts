/** Waiting for a condition with a deadline: what the tests use instead of sleeping. */

const POLL_MILLIS = 10;
/** For what takes a moment on a machine at rest; tests also run on slow and busy ones. */
export const WAIT_MILLIS = 45_000;

/**
 * Polls until `condition` gives something other than false, null or undefined, and returns it.
 * At the deadline it throws, naming `what` was awaited and, when given, what `explain` says about the state.
 */
export async function until<T>(
  what: string,
  condition: () => T | Promise<T>,
  options: { millis?: number; explain?: () => string } = {},
): Promise<NonNullable<T>> {
  const deadline = Date.now() + (options.millis ?? WAIT_MILLIS);
  for (;;) {
    const result = await condition();
    if (result !== false && result !== null && result !== undefined) {
      return result;
    }
    if (Date.now() > deadline) {
      throw new Error(`waited in vain until ${what}\n${options.explain?.() ?? ''}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MILLIS));
  }
}

/** The promise's value, or an error naming `what` when it takes longer than `millis`. */
export async function within<T>(millis: number, what: string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: not within ${millis} ms`)), millis);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
