/**
 * The packages as a user gets them: `npm install pgtls` in an empty folder, no Rust on the PATH, no install script, and a TLS query through
 * what was installed. The binary is the published one, which `npm test` builds before; without it these tests are skipped,
 * but fail in CI.
 */
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bindingProblems } from '../../scripts/lib/binding-problems.mjs';
import { readElfNeeds } from '../../scripts/lib/elf.mjs';
import { packageName, TARBALLS } from '../../scripts/lib/packages.mjs';
import { GLIBC_FLOOR, hostTarget } from '../../scripts/lib/platforms.mjs';
import {
  BINDINGS,
  bindingFile,
  hasPublishedBinding,
  mustTestPackage,
} from '../../scripts/lib/published-binding.mjs';
import { thirdPartyLicences } from '../../scripts/lib/third-party-licences.mjs';
import { ListenerTls, plainBackend } from '../support/config.ts';
import { ROOT } from '../support/examples.ts';
import { material } from '../support/material.ts';
import { PackageRegistry } from '../support/package-registry.ts';
import { connectPg } from '../support/pg-client.ts';
import { proxyForTest } from '../support/running-proxy.ts';

const execute = promisify(execFile);
const target = hostTarget();
const platformPackage = packageName(target);
const VERSION: string = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')).version;
const PACKED = [
  `pgtls-${VERSION}.tgz`,
  `${platformPackage.replace('@', '').replace('/', '-')}-${VERSION}.tgz`,
];

/** In CI, what keeps the binary from being built fails these tests. */
const isSkipped = !hasPublishedBinding(target) && !mustTestPackage();

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder of a user, with a PATH that has Node.js and the system's programs. */
class UserFolder {
  readonly directory = mkdtempSync(join(tmpdir(), 'pgtls-user-'));
  readonly environment = {
    PATH: [dirname(process.execPath), '/usr/bin', '/bin'].join(delimiter),
    HOME: this.directory,
  };

  async run(program: string, ...args: readonly string[]): Promise<Outcome> {
    const options = { cwd: this.directory, env: this.environment };
    try {
      const { stdout, stderr } = await execute(program, args, options);
      return { code: 0, stdout, stderr };
    } catch (error) {
      const { code, stdout, stderr } = error as Outcome;
      return { code, stdout, stderr };
    }
  }

  async install(registry: PackageRegistry, ...args: readonly string[]): Promise<void> {
    const quiet = ['--no-audit', '--no-fund', '--cache', join(this.directory, '.npm')];
    const { code, stderr } = await this.run(
      'npm',
      ...['install', 'pgtls', '--registry', registry.url, ...quiet, ...args],
    );
    expect({ code, stderr }).toMatchObject({ code: 0 });
  }

  path(...parts: readonly string[]): string {
    return join(this.directory, 'node_modules', ...parts);
  }

  remove(): void {
    rmSync(this.directory, { recursive: true });
  }
}

describe.skipIf(isSkipped)('npm install pgtls', () => {
  const user = new UserFolder();
  let registry: PackageRegistry;

  beforeAll(async () => {
    await execute(process.execPath, ['scripts/package.mjs'], { cwd: ROOT });
    registry = await PackageRegistry.start();
    await user.install(registry, '--ignore-scripts');
  });

  afterAll(async () => {
    await registry.close();
    user.remove();
  });

  test('brings the one binary that fits, and asks for no other', () => {
    expect(readdirSync(user.path('@pgtls'))).toEqual([target.name]);
    const asked = registry.downloaded.filter((file) => file.startsWith('pgtls-'));
    expect(asked.sort()).toEqual([...PACKED].sort());
    expect(statSync(user.path(platformPackage, bindingFile(target))).size).toBeGreaterThan(1e6);
  });

  test('brings no install script, no source and no second copy of the binary', () => {
    const installed = JSON.parse(readFileSync(user.path('.package-lock.json'), 'utf8'));
    const entries = Object.values<Readonly<Record<string, unknown>>>(installed.packages);
    expect(entries.filter((entry) => entry['hasInstallScript'])).toEqual([]);
    const manifest = JSON.parse(readFileSync(user.path('pgtls/package.json'), 'utf8'));
    expect(manifest).not.toHaveProperty('scripts');
    expect(manifest).not.toHaveProperty('devDependencies');
    expect(Object.values(manifest.optionalDependencies)).toEqual(Array(6).fill(VERSION));
    const files = readdirSync(user.path('pgtls'), { recursive: true, encoding: 'utf8' });
    expect(files.filter((file) => /\.(node|rs)$/.test(file))).toEqual([]);
    const wanted = ['README.md', 'LICENSE-APACHE', 'LICENSE-MIT', 'dist/index.d.ts'];
    expect(files).toEqual(expect.arrayContaining(wanted));
    expect(existsSync(user.path(platformPackage, 'LICENSE-APACHE'))).toBe(true);
  });

  test('brings the licence texts of what is linked into the binary', () => {
    const text = readFileSync(user.path(platformPackage, 'THIRD-PARTY-LICENSES'), 'utf8');
    expect(text).toBe(thirdPartyLicences(target));
    expect(text).toMatch(/^aws-lc-sys .*\(ISC AND /m);
  });

  test('there is no Rust on its PATH', async () => {
    expect((await user.run('sh', '-c', 'command -v cargo rustc')).code).not.toBe(0);
  });

  test('npx pgtls --version and doctor run, with that binary', async () => {
    const version = await user.run('npx', '--no-install', 'pgtls', '--version');
    expect(version.stdout).toMatch(`pgtls ${VERSION} (rustls `);
    const doctor = await user.run('npx', '--no-install', 'pgtls', 'doctor');
    expect(doctor.code).toBe(0);
    expect(doctor.stdout).toContain(
      `${user.path(platformPackage, bindingFile(target))}, version ${VERSION}`,
    );
  });

  test('a query goes through it, over TLS', async () => {
    const tls = await ListenerTls.create();
    const proxy = await proxyForTest(
      tls.config([{ backend: plainBackend(material().plain.port) }]),
      { program: user.path('.bin/pgtls'), environment: user.environment },
    );
    const client = await connectPg({ port: proxy.port(), ssl: tls.clientOptions });
    const { rows } = await client.query("select repeat('ab', 100000) as text");
    expect(rows).toEqual([{ text: 'ab'.repeat(100_000) }]);
    expect(await proxy.logged({ event: 'tls.client' })).toMatchObject({ tls_version: 'TLSv1.3' });
    tls.remove();
  });

  test('what the release workflow tries in other images passes', async () => {
    const { code, stdout, stderr } = await user.run('node', join(ROOT, 'scripts/smoke.mjs'), '.');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/pgtls can run here[\s\S]*\na query over TLS was answered\n$/);
  });

  test('a program can import it', async () => {
    const program = "console.log(typeof (await import('pgtls')).createProxy)";
    const outcome = await user.run('node', '--input-type=module', '--eval', program);
    expect(outcome).toEqual({ code: 0, stdout: 'function\n', stderr: '' });
  });

  test('an image for another platform gets the package of that one', async () => {
    const other = new UserFolder();
    await other.install(registry, '--os=linux', '--cpu=arm64', '--libc=musl');
    other.remove();
    expect(registry.downloaded).toContain(`pgtls-linux-arm64-musl-${VERSION}.tgz`);
  });

  test('without optional dependencies it says what is missing, and ends with 3', async () => {
    const other = new UserFolder();
    await other.install(registry, '--omit=optional');
    const { code, stderr } = await other.run('npx', '--no-install', 'pgtls', '--version');
    other.remove();
    expect(code).toBe(3);
    expect(stderr).toContain(`does not load: the package ${platformPackage} is not installed`);
    expect(stderr).toContain('npm install --include=optional');
  });
});

describe.skipIf(isSkipped)('the published binary', () => {
  const file = join(BINDINGS, bindingFile(target));

  test.runIf(target.libc === 'glibc')(`needs no glibc newer than ${GLIBC_FLOOR}`, () => {
    const binary = readFileSync(file);
    const { libraries, versions } = readElfNeeds(binary);
    expect(libraries).toContain('libc.so.6');
    expect(versions.length).toBeGreaterThan(5);
    expect(bindingProblems(target, binary)).toEqual([]);
  });

  test('names no path of the machine that built it', () => {
    const binary = readFileSync(file);
    expect(binary.includes(`${ROOT}/`)).toBe(false);
    expect(binary.includes('.cargo/registry')).toBe(false);
  });

  test('is packed in at most 3 MB, with checksums of that, of its debug information and a bill of materials', async () => {
    for (const tarball of PACKED) {
      expect(statSync(join(TARBALLS, tarball)).size).toBeLessThanOrEqual(3_000_000);
    }
    await execute('sha256sum', ['--check', '--strict', 'SHA256SUMS'], { cwd: TARBALLS });
    const sums = readFileSync(join(TARBALLS, 'SHA256SUMS'), 'utf8');
    const summed = [...sums.matchAll(/ {2}(.*)$/gm)].map(([, name]) => name);
    const others = readdirSync(TARBALLS).filter((name) => name !== 'SHA256SUMS');
    expect(summed.sort()).toEqual(others.sort());
    const debug = target.platform === 'linux' ? [`${bindingFile(target)}.debug`] : [];
    expect(summed).toEqual(expect.arrayContaining(['pgtls.cdx.json', ...PACKED, ...debug]));
    const bill = JSON.parse(readFileSync(join(TARBALLS, 'pgtls.cdx.json'), 'utf8'));
    const urls: string[] = bill.components.map(({ purl = '' }: { purl?: string }) => purl);
    for (const shipped of ['pkg:npm/pino@', 'pkg:cargo/rustls@', 'pkg:cargo/aws-lc-sys@']) {
      expect(urls.filter((url) => url.startsWith(shipped))).toHaveLength(1);
    }
    expect(urls.filter((url) => /vitest|pgtls-testkit|biome/.test(url))).toEqual([]);
  });
});
