/** Loading the addon, and its errors. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadBinding } from '../../src/data-plane/data-plane.ts';
import { converting, toPgtlsError } from '../../src/data-plane/errors.ts';
import { PgtlsError } from '../../src/errors.ts';

describe('a binding that is missing', () => {
  it('is a typed error naming platform, libc, Node.js, path and remedy', () => {
    const path = '/nowhere/pgtls-binding/index.js';
    const load = () => loadBinding(path);
    expect(load).toThrow(expect.objectContaining({ code: 'PGTLS_BINDING_MISSING' }));
    for (const part of [process.platform, process.arch, 'libc', process.version, path, 'npm run']) {
      expect(load).toThrow(part);
    }
  });

  it('tells first what the loader said first', () => {
    const directory = mkdtempSync(join(tmpdir(), 'pgtls-binding-'));
    const path = join(directory, 'index.mjs');
    const source = `throw new Error('no binding', { cause: new Error('dlopen: GLIBC_9.9 not found') })`;
    try {
      writeFileSync(path, source);
      expect(() => loadBinding(path)).toThrow(
        /does not load: dlopen: GLIBC_9\.9 not found; no bind/,
      );
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

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
