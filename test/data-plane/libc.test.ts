/** Which C library is which, by the signs of machines of many kinds. */
import { describe, expect, it } from 'vitest';
import { type LibcSigns, libcFamily, libcOfThisHost } from '../../src/data-plane/libc.ts';

const NODE = '00400000-00401000 r--p 00000000 08:01 1    /usr/local/bin/node\n';
const mapped = (path: string) =>
  `${NODE}7f0000000000-7f0000001000 r-xp 00000000 08:01 2    ${path}\n`;

/** Everything that isn't said is not to be asked. */
function signs(known: {
  readonly map?: string;
  readonly reported?: string | null;
  readonly files?: readonly string[];
}): LibcSigns {
  const never = (what: string) => () => {
    throw new Error(`${what} was asked`);
  };
  const { map, reported, files } = known;
  return {
    openLibraries: map === undefined ? never('the map') : () => map,
    reportedGlibc: reported === undefined ? never('the report') : () => reported,
    systemLibraries: files === undefined ? never('the file system') : () => files,
  };
}

describe('the C library', () => {
  it.each([
    ['/usr/lib/x86_64-linux-gnu/libc.so.6', 'gnu'],
    ['/lib64/libc-2.28.so', 'gnu'],
    ['/nix/store/abc-glibc-2.39/lib/libc.so.6', 'gnu'],
    ['/lib/ld-musl-x86_64.so.1', 'musl'],
    ['/lib/libc.musl-aarch64.so.1', 'musl'],
    ['/usr/lib/libc.so', 'musl'],
  ])('that has mapped %s is %s, and nothing else is asked', (path, family) => {
    expect(libcFamily(signs({ map: mapped(path) }))).toBe(family);
  });

  it('is musl where glibc is played by gcompat, or installed beside it', () => {
    const map = `${mapped('/lib/ld-musl-x86_64.so.1')}7f0-7f1 r-xp 0 08:01 3 /lib/libgcompat.so.0\n`;
    expect(libcFamily(signs({ map }))).toBe('musl');
  });

  it.each(['', NODE, mapped('/lib/libc.so.6') + mapped('/lib/ld-musl-x86_64.so.1')])(
    'is glibc by the report where the map does not say: %j',
    (map) => {
      expect(libcFamily(signs({ map, reported: '2.36' }))).toBe('gnu');
    },
  );

  it.each([
    [['ld-musl-x86_64.so.1', 'libz.so'], 'musl'],
    [['libc.so.6', 'ld-linux-x86-64.so.2'], 'gnu'],
    [['libc-2.28.so'], 'gnu'],
    [['libc.so.6', 'ld-musl-x86_64.so.1'], 'musl'],
    [[], 'musl'],
  ])('where there is no report is told by the files %j: %s', (files, family) => {
    expect(libcFamily(signs({ map: '', reported: null, files }))).toBe(family);
  });

  it.runIf(process.platform === 'linux')('of this machine is the same by every sign', () => {
    const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
    const version = header.glibcVersionRuntime;
    expect(libcFamily()).toBe(version === undefined ? 'musl' : 'gnu');
    expect(libcOfThisHost()).toMatch(version === undefined ? /^musl/ : `glibc ${version}`);
  });
});
