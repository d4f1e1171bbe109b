/** Publishing a release to npm's registry, played here, with failures half-way. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { distTag, packagesIn } from '../../scripts/lib/publishing.mjs';
import { ROOT } from '../support/examples.ts';
import { PublishingRegistry } from '../support/publishing-registry.ts';

const PLATFORMS = ['@pgtls/darwin-x64', '@pgtls/linux-x64-gnu'];

/** The packages of a release as `npm run package` leaves them, with less in them. */
class Release {
  readonly directory = mkdtempSync(join(tmpdir(), 'pgtls-release-'));
  readonly tarballs = join(this.directory, 'tarballs');
  readonly version: string;

  constructor(version: string, text = '') {
    this.version = version;
    mkdirSync(this.tarballs);
    for (const name of PLATFORMS) {
      this.#pack({ name, version }, text);
    }
    const needed = PLATFORMS.map((name) => [name, version]);
    this.#pack({ name: 'pgtls', version, optionalDependencies: Object.fromEntries(needed) }, text);
  }

  #pack(manifest: { readonly name: string; readonly [field: string]: unknown }, text: string) {
    const folder = join(this.directory, manifest.name);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'package.json'), JSON.stringify(manifest));
    writeFileSync(join(folder, 'index.js'), text);
    const options = ['--silent', '--pack-destination', this.tarballs];
    execFileSync('npm', ['pack', folder, ...options], { cwd: this.directory, stdio: 'ignore' });
  }
}

describe('publishing a release', { timeout: 240_000 }, () => {
  let registry: PublishingRegistry;
  const release = new Release('1.2.3');
  const again = new Release('1.2.3', 'another build');
  const candidate = new Release('1.2.3-rc.1');

  beforeEach(async () => {
    registry = await PublishingRegistry.start();
    return () => registry.close();
  });

  afterAll(() => {
    for (const { directory } of [release, again, candidate]) {
      rmSync(directory, { recursive: true });
    }
  });

  /** Its exit code and what it said. */
  function publish({ tarballs, version }: Release): Promise<{ code: number; output: string }> {
    const home = release.directory;
    writeFileSync(join(home, '.npmrc'), `//${registry.address}/:_authToken=none\n`);
    const env = {
      PATH: process.env['PATH'],
      HOME: home,
      npm_config_userconfig: join(home, '.npmrc'),
      npm_config_cache: join(home, 'cache'),
      npm_config_registry: `http://${registry.address}/`,
      npm_config_fetch_retries: '0',
    };
    const script = join(ROOT, 'scripts/publish.mjs');
    // Relative, as the workflow says it.
    const args = [script, basename(tarballs), `v${version}`, '--', '--access', 'public'];
    return new Promise((resolve) => {
      execFile(process.execPath, args, { env, cwd: dirname(tarballs) }, (error, stdout, stderr) => {
        resolve({ code: error === null ? 0 : Number(error.code), output: `${stdout}${stderr}` });
      });
    });
  }

  it('publishes the platforms, then pgtls, as latest', async () => {
    expect(await publish(release)).toMatchObject({ code: 0 });
    expect(registry.published).toEqual([
      '@pgtls/darwin-x64@1.2.3 latest',
      '@pgtls/linux-x64-gnu@1.2.3 latest',
      'pgtls@1.2.3 latest',
    ]);
  });

  it('goes on where it failed when it is run again: what is published stays as it is', async () => {
    registry.fates.set('@pgtls/linux-x64-gnu', 'refused');
    const failed = await publish(release);
    expect(failed.code).toBe(1);
    expect(failed.output).toContain('not today');
    expect(registry.published).toEqual(['@pgtls/darwin-x64@1.2.3 latest']);
    registry.fates.clear();
    const { code, output } = await publish(release);
    expect({ code, output }).toMatchObject({ code: 0 });
    expect(output).toContain('@pgtls/darwin-x64@1.2.3: is published already, with the same');
    expect(registry.published.slice(1)).toEqual([
      '@pgtls/linux-x64-gnu@1.2.3 latest',
      'pgtls@1.2.3 latest',
    ]);
    expect(await publish(release)).toMatchObject({ code: 0 });
    expect(registry.published).toHaveLength(3);
  });

  it('takes a package for published when only the answer was lost', async () => {
    registry.fates.set('@pgtls/darwin-x64', 'lost');
    expect(await publish(release)).toMatchObject({ code: 0 });
    expect(registry.published).toHaveLength(3);
  });

  it('publishes nothing when the version is there with other contents', async () => {
    registry.fates.set('pgtls', 'refused');
    await publish(again);
    const before = [...registry.published];
    registry.fates.clear();
    const { code, output } = await publish(release);
    expect(code).toBe(1);
    expect(output).toContain('@pgtls/darwin-x64@1.2.3 is published already with other contents');
    expect(registry.published).toEqual(before);
  });

  it('publishes nothing when the registry does not say what is there', async () => {
    registry.failing = true;
    const { code, output } = await publish(release);
    expect(code).toBe(1);
    expect(output).toContain('npm view @pgtls/darwin-x64@1.2.3: ');
    expect(registry.published).toEqual([]);
  });

  it('offers a prerelease as next, and leaves latest alone', async () => {
    expect(await publish(candidate)).toMatchObject({ code: 0 });
    expect(registry.published.map((line) => line.split(' ')[1])).toEqual(['next', 'next', 'next']);
    expect(['1.2.3', '1.2.3-rc.1', '2.0.0-0'].map(distTag)).toEqual([null, 'next', 'next']);
  });

  it('wants all packages of pgtls, of the version of the tag, and no others', () => {
    const [first = ''] = readdirSync(candidate.tarballs);
    expect(() => packagesIn(candidate.tarballs, '1.2.3')).toThrow(
      '@pgtls/darwin-x64 is version 1.2.3-rc.1, not 1.2.3',
    );
    rmSync(join(candidate.tarballs, first));
    expect(() => packagesIn(candidate.tarballs, '1.2.3-rc.1')).toThrow(/ is missing$/m);
  });
});
