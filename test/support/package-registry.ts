/**
 * A package registry on loopback, as far as `npm install` asks one: the packages that `npm run package` made, those of the platforms whose
 * binaries are not here by name only, and what pgtls depends on, out of this working copy. Nothing leaves the machine.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { STAGE, TARBALLS } from '../../scripts/lib/packages.mjs';
import { ROOT } from './examples.ts';

/** What npm reads of a package. */
interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly [field: string]: unknown;
}

/** Serves until it is closed. */
export class PackageRegistry {
  /** The tarballs that were asked for. */
  readonly downloaded: string[] = [];
  readonly #packages = new Map<string, Manifest[]>();
  readonly #tarballs = new Map<string, Buffer>();
  readonly #server: Server;

  private constructor() {
    this.#server = createServer(({ url = '/' }, response) => {
      const body = this.#answer(decodeURIComponent(url.slice(1)));
      response.writeHead(body === null ? 404 : 200, { 'content-type': 'application/json' });
      response.end(body ?? '{}');
    });
  }

  static async start(): Promise<PackageRegistry> {
    const registry = new PackageRegistry();
    registry.#server.listen(0, '127.0.0.1');
    await once(registry.#server, 'listening');
    registry.#addPublished();
    registry.#addDependencies();
    return registry;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/`;
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  #answer(path: string): Buffer | string | null {
    const tarball = this.#tarballs.get(path);
    if (tarball !== undefined || path.endsWith('.tgz')) {
      this.downloaded.push(path);
      return tarball ?? null;
    }
    const versions = this.#packages.get(path);
    return versions === undefined ? null : JSON.stringify(packument(path, versions));
  }

  #addPublished(): void {
    const platforms = readdirSync(join(STAGE, 'npm')).map((name) => join('npm', name));
    for (const folder of ['pgtls', ...platforms]) {
      const manifest = readManifest(join(STAGE, folder));
      const name = manifest.name.replace('@', '').replace('/', '-');
      const file = join(TARBALLS, `${name}-${manifest.version}.tgz`);
      this.#add(manifest, basename(file), existsSync(file) ? readFileSync(file) : null);
    }
  }

  #addDependencies(): void {
    const directory = mkdtempSync(join(tmpdir(), 'pgtls-registry-'));
    for (const folder of productionPackages()) {
      const manifest = readManifest(join(ROOT, folder));
      const file = join(directory, `${basename(folder)}-${manifest.version}.tgz`);
      const where = ['-C', join(ROOT, dirname(folder)), '--exclude', 'node_modules'];
      execFileSync('tar', ['-czf', file, ...where, basename(folder)]);
      this.#add(manifest, basename(file), readFileSync(file));
    }
    rmSync(directory, { recursive: true });
  }

  /** `tarball` null = its download fails. */
  #add(manifest: Manifest, file: string, tarball: Buffer | null): void {
    const { name } = manifest;
    const dist: Record<string, string> = { tarball: `${this.url}${file}` };
    if (tarball !== null) {
      this.#tarballs.set(file, tarball);
      dist['integrity'] = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
    }
    const known = this.#packages.get(name) ?? [];
    this.#packages.set(name, [...known, { ...manifest, dist }]);
  }
}

function packument(name: string, versions: readonly Manifest[]): object {
  return {
    name,
    'dist-tags': { latest: versions.at(-1)?.version },
    versions: Object.fromEntries(versions.map((manifest) => [manifest.version, manifest])),
  };
}

function readManifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
}

/** The folders of what npm installs with pgtls. */
function productionPackages(): string[] {
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'));
  return Object.entries<Readonly<Record<string, unknown>>>(packages)
    .filter(([path, entry]) => path !== '' && !entry['dev'] && !entry['optional'] && !entry['peer'])
    .map(([path]) => path);
}
