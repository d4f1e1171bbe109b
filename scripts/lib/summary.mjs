/** The last line of tests and checks: a form that a counter reads. */

/** @typedef {import('./rust-tests.mjs').Counts} Counts */

/** `N passed, N failed`, and the skipped only when there are any. @param {Counts} counts */
export function summaryLine({ passed, failed, skipped }) {
  const skippedPart = skipped > 0 ? `, ${skipped} skipped` : '';
  return `${passed} passed, ${failed} failed${skippedPart}`;
}

/** @param {Counts} a @param {Counts} b @returns {Counts} */
export function sum(a, b) {
  return {
    passed: a.passed + b.passed,
    failed: a.failed + b.failed,
    skipped: a.skipped + b.skipped,
  };
}
