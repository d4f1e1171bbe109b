/** A registry on loopback that `npm publish` and `npm view` can talk to: keeps what is published, and fails where a test wants that. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';

interface Published {
  readonly version: string;
  readonly dist: { readonly integrity: string };
}

/** What `npm publish` sends. */
interface Publication {
  readonly name: string;
  readonly versions: Readonly<Record<string, Published>>;
  readonly 'dist-tags': Readonly<Record<string, string>>;
}

/** What becomes of a publication: `lost` = it is kept, but npm is told otherwise. */
export type Fate = 'kept' | 'refused' | 'lost';

/** Serves until it is closed. */
export class PublishingRegistry {
  /** As `name@version tag`, in the order of their publication. */
  readonly published: string[] = [];
  /** By the name of a package; `kept` unless it is said otherwise. */
  readonly fates = new Map<string, Fate>();
  /** Of every answer to a question: 200 unless a test wants a broken registry. */
  failing = false;
  readonly #packages = new Map<string, Publication>();
  readonly #server = createServer((request, response) => {
    this.#answer(request, response).catch(() => response.destroy());
  });

  static async start(): Promise<PublishingRegistry> {
    const registry = new PublishingRegistry();
    registry.#server.listen(0, '127.0.0.1');
    await once(registry.#server, 'listening');
    return registry;
  }

  /** With its port: `127.0.0.1:1234`. */
  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const name = decodeURIComponent((request.url ?? '/').slice(1)).replace(/\?.*$/, '');
    const [status, body] =
      request.method === 'PUT'
        ? this.#take(name, (await json(request)) as Publication)
        : this.#show(name);
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body));
  }

  #take(name: string, publication: Publication): [number, unknown] {
    const fate = this.fates.get(name) ?? 'kept';
    if (fate !== 'refused') {
      const known = this.#packages.get(name);
      const versions = { ...known?.versions, ...publication.versions };
      const tags = { ...known?.['dist-tags'], ...publication['dist-tags'] };
      this.#packages.set(name, { name, versions, 'dist-tags': tags });
      const [version = ''] = Object.keys(publication.versions);
      const [tag = ''] = Object.keys(publication['dist-tags']);
      this.published.push(`${name}@${version} ${tag}`);
    }
    return fate === 'kept' ? [201, { ok: true }] : [403, { error: 'not today' }];
  }

  #show(name: string): [number, unknown] {
    const found = this.#packages.get(name);
    if (this.failing) {
      return [400, { error: 'broken' }];
    }
    return found === undefined ? [404, { error: 'not found' }] : [200, found];
  }
}
