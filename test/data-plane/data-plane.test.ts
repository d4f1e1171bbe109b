/** Errors of the native side. */
import { describe, expect, it } from 'vitest';
import { converting, toPgtlsError } from '../../src/data-plane/errors.ts';
import { PgtlsError } from '../../src/errors.ts';

describe('an error of the native side', () => {
  it('keeps its code and becomes the cause', () => {
    const native = Object.assign(new Error('full'), { code: 'PGTLS_TOO_MANY_CONNECTIONS' });
    expect(toPgtlsError(native)).toMatchObject({
      code: 'PGTLS_TOO_MANY_CONNECTIONS',
      message: 'full',
      cause: native,
    });
  });

  it.each([
    ['of an unknown code', Object.assign(new Error('x'), { code: 'GenericFailure' })],
    ['named like a property of every object', Object.assign(new Error('x'), { code: 'toString' })],
    ['that is no error', 'x'],
  ])('%s is a failure of the data plane', (_name, native) => {
    expect(toPgtlsError(native)).toMatchObject({ code: 'PGTLS_DATA_PLANE_FAILED', message: 'x' });
  });

  it('that is ours already stays itself', () => {
    const error = new PgtlsError('PGTLS_CLOSED', 'closed');
    expect(() =>
      converting(() => {
        throw error;
      }),
    ).toThrow(error);
  });
});
