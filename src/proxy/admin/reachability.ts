/**
 * Whether a backend can be reached, found out by connecting to it when somebody asks. However often and by however many it is
 * asked, each backend sees one connection at a time and one a second.
 */
import { connect } from 'node:net';
import { formatAddress } from '../../config/address.ts';
import type { BackendAddress } from '../../config/schema.ts';

interface Probe {
  /** The last answer, or the one under way. */
  readonly isReachable: Promise<boolean>;
  /** When it was given; null = it is under way. */
  answeredAtMillis: number | null;
}

const CACHE_MILLIS = 1_000;
const TIMEOUT_MILLIS = 2_000;

/** Remembers answers for a second. */
export class Reachability {
  readonly #probes = new Map<string, Probe>();
  /** Answered last that it is there: asked first. */
  #favourite: string | null = null;

  /** Whether one of them can be reached; does not wait for the others then. */
  async any(addresses: readonly BackendAddress[]): Promise<boolean> {
    const byKey = new Map(addresses.map((address) => [formatAddress(address), address]));
    const favourite = this.#favourite === null ? undefined : byKey.get(this.#favourite);
    if (favourite !== undefined && (await this.#probe(favourite))) {
      return true;
    }
    const answers = [...byKey.values()].map(async (address) => {
      if (!(await this.#probe(address))) {
        throw new Error('not reachable');
      }
    });
    return Promise.any(answers).then(
      () => true,
      () => false,
    );
  }

  #probe(address: BackendAddress): Promise<boolean> {
    const key = formatAddress(address);
    const known = this.#probes.get(key);
    if (known !== undefined && isCurrent(known)) {
      return known.isReachable;
    }
    const isReachable = canConnect(address);
    const probe: Probe = { isReachable, answeredAtMillis: null };
    this.#probes.set(key, probe);
    return isReachable.then((answer) => {
      probe.answeredAtMillis = performance.now();
      if (answer) {
        this.#favourite = key;
      }
      return answer;
    });
  }
}

function isCurrent({ answeredAtMillis }: Probe): boolean {
  return answeredAtMillis === null || performance.now() - answeredAtMillis < CACHE_MILLIS;
}

/** Never rejects. */
function canConnect(address: BackendAddress): Promise<boolean> {
  return new Promise<boolean>((resolve) => {
    const socket =
      address.kind === 'unix'
        ? connect({ path: address.path })
        : connect({ host: address.host, port: address.port });
    const timer = setTimeout(() => end(false), TIMEOUT_MILLIS);
    const end = (answer: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => end(true));
    socket.on('error', () => end(false));
  }).catch(() => false);
}
