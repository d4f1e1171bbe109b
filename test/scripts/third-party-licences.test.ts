/** The licence texts in the platforms' packages. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { targets } from '../../scripts/lib/platforms.mjs';
import { linkedCrates, shippedCrates } from '../../scripts/lib/shipped-crates.mjs';
import { thirdPartyLicences } from '../../scripts/lib/third-party-licences.mjs';
import { ROOT } from '../support/examples.ts';

const [linux] = targets();
const SEPARATOR = `\n${'-'.repeat(80)}\n\n`;

/** A crate's sources with these files. */
function crate(name: string, files: Readonly<Record<string, string>>, repository: string | null) {
  const folder = mkdtempSync(join(tmpdir(), 'pgtls-crate-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(folder, path, '..'), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  return { name, version: '1.0.0', license: 'MIT', repository, folder };
}

function licencesOf(...crates: readonly ReturnType<typeof crate>[]): string[] {
  if (linux === undefined) {
    throw new Error('there is no target');
  }
  return thirdPartyLicences(linux, crates).split(SEPARATOR);
}

describe.each(targets())('the licences of what is linked for $name', (target) => {
  const text = thirdPartyLicences(target);
  const crates = linkedCrates(target.triple);

  it('name every crate, each with a text', () => {
    const named = crates.map(({ name, version, license }) => `${name} ${version} (${license})`);
    expect(named.filter((line) => !text.includes(`\n${line}\n`))).toEqual([]);
    expect(named.join()).toMatch(/aws-lc-sys .*napi .*rustls .*tokio /);
    const shipped = shippedCrates().map(({ name, version }) => `${name} ${version}`);
    expect(shipped).toEqual(
      expect.arrayContaining(crates.map(({ name, version }) => `${name} ${version}`)),
    );
  });

  it('have no crate of tests, of macros or of another system', () => {
    const names = crates.map(({ name }) => name);
    const others = ['syn', 'ring', 'proptest', 'windows-sys', 'cc'];
    expect(names.filter((name) => others.includes(name))).toEqual([]);
    expect(names.includes('security-framework')).toBe(target.platform === 'darwin');
  });

  it('have those of Rust itself and of what comes with crates, and none twice', () => {
    expect(text).toContain('\nthe Rust standard library\n');
    expect(text.includes("\nLLVM's libunwind")).toBe(target.platform === 'linux');
    expect(text).toContain('The OpenSSL Project. All rights');
    const texts = text.split(SEPARATOR).map((part) => part.slice(part.indexOf('\n\n')));
    expect(new Set(texts).size).toBe(texts.length);
  });

  it('are the same on every machine', () => {
    expect(thirdPartyLicences(target)).toBe(text);
    expect([ROOT, homedir(), '\r'].filter((own) => text.includes(own))).toEqual([]);
  });
});

describe('the licence of a crate', () => {
  it('is every text of its folder and below, but for tests, without the ends of lines', () => {
    const texts = licencesOf(
      crate(
        'one',
        {
          'LICENSE-MIT': 'MIT  \r\n  text\n\n',
          'third_party/COPYING': 'deep',
          'tests/LICENSE': 'test',
          'src/license.rs': 'code',
        },
        null,
      ),
    );
    expect(texts.slice(1)).toEqual(
      expect.arrayContaining(['one 1.0.0 (MIT)\n\nMIT\n  text\n', 'one 1.0.0 (MIT)\n\ndeep\n']),
    );
    expect(texts.join()).not.toMatch(/\n(test|code)\n/);
  });

  it('stands once for all who have it in other lines', () => {
    const texts = licencesOf(
      crate('two', { LICENSE: 'the same\nwords' }, null),
      crate('one', { LICENCE: 'the same words\n' }, null),
    );
    expect(texts).toContain('one 1.0.0 (MIT)\ntwo 1.0.0 (MIT)\n\nthe same\nwords\n');
  });

  it('is that of its neighbour in the repository where it has none, or one of ours, or an error', () => {
    const bare = crate('bare', { 'src/lib.rs': '' }, 'https://example.com/x');
    const neighbour = crate('neighbour', { LICENSE: 'shared' }, 'https://example.com/x');
    expect(licencesOf(bare, neighbour)).toContain(
      'bare 1.0.0 (MIT)\nneighbour 1.0.0 (MIT)\n\nshared\n',
    );
    const napi = crate('napi', { 'src/lib.rs': '' }, 'https://github.com/napi-rs/napi-rs');
    expect(licencesOf(napi).join()).toContain('LongYinan');
    expect(() => licencesOf(bare)).toThrow(
      'bare 1.0.0 (MIT) has no licence text: put that of https://example.com/x into scripts/licences',
    );
  });
});
