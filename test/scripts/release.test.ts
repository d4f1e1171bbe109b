/** What the scripts of a release check: versions, and what a binary asks of a system. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { bindingProblems } from '../../scripts/lib/binding-problems.mjs';
import { newerThan, readElfNeeds } from '../../scripts/lib/elf.mjs';
import { targets } from '../../scripts/lib/platforms.mjs';
import { buildForTests, mustTestPackage } from '../../scripts/lib/published-binding.mjs';
import { versionProblems } from '../../scripts/lib/versions.mjs';
import { ROOT } from '../support/examples.ts';

const VERSION: string = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version;

describe('the version of a release', () => {
  const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');

  it('is the same everywhere, and the tag is that version', () => {
    expect(versionProblems(null)).toEqual([]);
    expect(versionProblems(`v${VERSION}`)).toEqual([]);
    expect(versionProblems('v99.0.0')).toEqual([
      `the tag v99.0.0 is version 99.0.0, package.json ${VERSION}`,
    ]);
  });

  it.each(['Cargo.toml', 'Cargo.lock', 'package-lock.json'])('is compared with %s', (file) => {
    const raised = (path: string) =>
      path === file ? read(path) : read(path).replaceAll(`"${VERSION}"`, '"99.0.0"');
    const problems = versionProblems(null, raised);
    expect(problems.length).toBeGreaterThan(0);
    expect(problems.filter((problem) => !problem.startsWith(file))).toEqual([]);
  });
});

describe.runIf(process.platform === 'linux')('a shared library', () => {
  it('that is none is refused', () => {
    expect(() => readElfNeeds(Buffer.from('MZ'.repeat(100)))).toThrow(
      'no 64-bit little-endian ELF',
    );
    const cut = readFileSync(process.execPath).subarray(0, 4096);
    expect(() => readElfNeeds(cut)).toThrow();
  });

  it('is not for a target of another CPU or libc, nor when it asks for libraries of its own', () => {
    const program = readFileSync(process.execPath);
    const { architecture, libraries } = readElfNeeds(program);
    expect(architecture).toBe(process.arch);
    expect(libraries).toContain('libstdc++.so.6');
    const problems = targets()
      .filter(({ platform }) => platform === 'linux')
      .map((target) => bindingProblems(target, program).join('; '));
    expect(problems.filter((text) => text.includes('made for'))).toHaveLength(2);
    expect(problems.filter((text) => /linked with glibc/.test(text))).toHaveLength(2);
    expect(problems.filter((text) => text.includes('no shared library'))).toHaveLength(4);
    expect(problems.filter((text) => text.includes('needs libstdc++.so.6'))).toHaveLength(4);
  });
});

it.each([
  ['GLIBC_2.2.5', false],
  ['GLIBC_2.9', false],
  ['GLIBC_2.28', false],
  ['GLIBC_2.28.1', true],
  ['GLIBC_2.29', true],
  ['GLIBC_2.100', true],
  ['GLIBC_3.0', true],
  ['GLIBC_ABI_DT_RELR', true],
  ['GLIBC_PRIVATE', true],
  ['GCC_4.2.0', false],
])('%s is newer than glibc 2.28: %s', (version, expected) => {
  expect(newerThan([{ library: 'libc.so.6', version }], '2.28')).toHaveLength(expected ? 1 : 0);
});

describe('the tests of the package, where zig cannot be had,', () => {
  const failing = () => {
    throw new Error('no way to the registry');
  };

  it.each([
    [undefined, false],
    ['', false],
    ['false', false],
    ['true', true],
    ['1', true],
  ])('with CI=%s: fail is %s', (CI, fails) => {
    const complaint = vi.spyOn(console, 'error').mockReturnValue();
    onTestFinished(() => complaint.mockRestore());
    expect(buildForTests(failing, mustTestPackage({ CI }))).toBe(!fails);
    expect(complaint).toHaveBeenCalledWith('no package is tested: no way to the registry');
  });
});
