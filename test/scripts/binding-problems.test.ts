/** What is refused as a binary of a platform: of small libraries that zig makes for other systems, where it is installed. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bindingProblems } from '../../scripts/lib/binding-problems.mjs';
import { readMachO } from '../../scripts/lib/macho.mjs';
import { targets } from '../../scripts/lib/platforms.mjs';
import { ROOT } from '../support/examples.ts';

const ZIG = join(ROOT, 'target/tools/zig/ziglang/zig');
/** A first build of zig for a system compiles parts of its C library. */
const DEADLINE_MILLIS = 600_000;

const PLAIN = 'int open(const char *path, int flags, ...); int f(void) { return open("/", 0); }';
const OF_GLIBC = `${PLAIN} const char *gnu_get_libc_version(void); const char *g(void) { return gnu_get_libc_version(); }`;

/** Of the target with this name. */
function problems(name: string, file: Buffer): string[] {
  const target = targets().find((candidate) => candidate.name === name);
  return target === undefined ? ['no such target'] : bindingProblems(target, file);
}

/** The targets that take a file without a word. */
function takenBy(file: Buffer): string[] {
  return targets()
    .filter((target) => bindingProblems(target, file).length === 0)
    .map(({ name }) => name);
}

it('what is no library of any system is taken for no target, and does not throw', () => {
  for (const file of [Buffer.alloc(0), Buffer.from('MZ'.repeat(100)), Buffer.alloc(4096)]) {
    expect(takenBy(file)).toEqual([]);
  }
  expect(problems('darwin-x64', readFileSync(process.execPath))).toHaveLength(1);
  const cut = Buffer.alloc(64);
  cut.writeUInt32LE(0xfeedfacf, 0);
  cut.writeUInt32LE(99, 16);
  expect(problems('darwin-x64', cut)).toEqual(['damaged: a load command without a size']);
});

describe.skipIf(!existsSync(ZIG))('a library that zig made', () => {
  const folder = mkdtempSync(join(tmpdir(), 'pgtls-zig-'));
  const file = (name: string) => readFileSync(join(folder, name));

  function build(target: string, name: string, source: string, ...options: string[]): void {
    writeFileSync(join(folder, 'f.c'), source);
    const args = ['cc', '-target', target, '-shared', '-O2', '-s', ...options];
    execFileSync(ZIG, [...args, '-o', name, 'f.c'], { cwd: folder, stdio: 'pipe' });
  }

  beforeAll(() => {
    build('x86_64-linux-musl', 'musl', PLAIN);
    build('x86_64-linux-musl', 'musl-of-glibc', OF_GLIBC);
    build('aarch64-macos', 'macos', PLAIN);
  }, DEADLINE_MILLIS);

  afterAll(() => rmSync(folder, { recursive: true }));

  it('for musl is taken for musl on its CPU only', () => {
    expect(takenBy(file('musl'))).toEqual(['linux-x64-musl']);
    expect(problems('linux-arm64-musl', file('musl'))).toEqual(['made for x64']);
    expect(problems('linux-x64-gnu', file('musl'))).toEqual([
      'linked with musl, or with no libc',
      'needs libc.so, which not every system has',
    ]);
  });

  it('for musl that asks for what glibc has alone is refused', () => {
    expect(problems('linux-x64-musl', file('musl-of-glibc'))).toEqual([
      'needs gnu_get_libc_version, which musl has not',
    ]);
  });

  it('for macOS is taken for macOS on its CPU only', () => {
    expect(takenBy(file('macos'))).toEqual(['darwin-arm64']);
    expect(problems('darwin-x64', file('macos'))).toEqual(['made for arm64']);
    expect(readMachO(file('macos')).libraries).toEqual(['/usr/lib/libSystem.B.dylib']);
  });

  it('for macOS is refused when it asks for a library of its own, is a program or is not signed', () => {
    const library = file('macos');
    const strange = Buffer.from(library);
    strange.write('/opt', strange.indexOf('/usr/lib/libSystem'));
    expect(problems('darwin-arm64', strange)).toEqual([
      'needs /opt/lib/libSystem.B.dylib, which not every system has',
    ]);
    const program = Buffer.from(library);
    program.writeUInt32LE(2, 12);
    expect(problems('darwin-arm64', program)).toEqual(['no shared library']);
    const unsigned = Buffer.from(library);
    const command = Buffer.from([0x1d, 0, 0, 0, 16, 0, 0, 0]);
    unsigned.writeUInt32LE(0x26, unsigned.indexOf(command));
    expect(problems('darwin-arm64', unsigned)).toEqual(['not signed']);
  });
});
