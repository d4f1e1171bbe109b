/**
 * Errors of the native side as PgtlsError: same codes, the native error as the cause.
 */
import { ERROR_CODES, PgtlsError, type PgtlsErrorCode } from '../errors.ts';

/** Keeps the code the native side gave, or PGTLS_DATA_PLANE_FAILED when it is none of ours. */
export function toPgtlsError(error: unknown): PgtlsError {
  if (error instanceof PgtlsError) {
    return error;
  }
  const message = error instanceof Error ? error.message : String(error);
  return new PgtlsError(codeOf(error), message, { cause: error });
}

/** Runs a call into the native side; what it throws is thrown as a PgtlsError. */
export function converting<T>(call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw toPgtlsError(error);
  }
}

/** Runs an asynchronous call into the native side; what it throws or rejects with is a PgtlsError then. */
export async function settling<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw toPgtlsError(error);
  }
}

function codeOf(error: unknown): PgtlsErrorCode {
  const code: unknown = error instanceof Error ? Reflect.get(error, 'code') : undefined;
  return typeof code === 'string' && Object.hasOwn(ERROR_CODES, code)
    ? (code as PgtlsErrorCode)
    : 'PGTLS_DATA_PLANE_FAILED';
}
