/**
 * All listeners of a proxy, as the configuration changes: those whose address stays keep their socket, whatever else changes.
 *
 * A change is prepared (new addresses are bound, and what connects to them waits) and then committed or abandoned as a whole.
 */
import { closeSync } from 'node:fs';
import { PgtlsError } from '../errors.ts';
import type { Adopt, Receive } from '../listener/handoff.ts';
import { bindListener, type Listener, type ListenerObserver } from '../listener/listener.ts';
import {
  type BindRequest,
  type InheritedSocket,
  removeQuietly,
} from '../listener/server-socket.ts';
import type { ListenerPlan } from './listener-plan.ts';

/** What the listeners share. */
export interface SharedByListeners {
  readonly adopt: Adopt;
  readonly receive: Receive;
  readonly observer: ListenerObserver;
  readonly bindSocket: (request: BindRequest) => number;
}

/** Listening sockets of another process, found by a plan; each is given once. */
export interface InheritedSockets {
  take(plan: ListenerPlan): InheritedSocket | null;
  /** One that is no listener's. */
  takeByKey(key: string): InheritedSocket | null;
  /** Those that no plan took, with the path that is to be removed, if any. */
  rest(): { readonly fd: number; readonly ownedPath: string | null }[];
}

/** A listening socket for a successor. */
export interface PassedSocket {
  readonly key: string;
  /** Stays the listener's. */
  readonly fd: number;
  readonly ownsPath: boolean;
}

/** A listener with what it was made from. */
export interface PlannedListener {
  readonly plan: ListenerPlan;
  readonly listener: Listener;
}

/** What a change came to. */
export interface CommittedChange {
  readonly added: readonly PlannedListener[];
  readonly removed: readonly PlannedListener[];
  /** What could not be changed of a socket that stays, and did no harm to the rest. */
  readonly doubts: readonly { readonly plan: ListenerPlan; readonly text: string }[];
}

/** A change that is prepared: every new address is bound. */
export interface ListenerChange {
  /** Puts it in place, at once. */
  commit(): CommittedChange;
  /** Closes what was bound for it. */
  abandon(): Promise<void>;
}

/** Nothing: every address is bound. */
export const NOTHING_INHERITED: InheritedSockets = {
  take: () => null,
  takeByKey: () => null,
  rest: () => [],
};

/** Owns every listener until `close`. */
export class Listeners {
  readonly #shared: SharedByListeners;
  #active: PlannedListener[] = [];
  /** Removed ones, while connections negotiate there. */
  readonly #retiring = new Map<Listener, Promise<void>>();
  #lastConnectionId = 0;

  private constructor(shared: SharedByListeners) {
    this.#shared = shared;
  }

  /** Binds all or none; throws PGTLS_BIND_FAILED, its cause an AggregateError where several could not be bound. */
  static async bind(
    plans: readonly ListenerPlan[],
    shared: SharedByListeners,
    inherited: InheritedSockets = NOTHING_INHERITED,
  ): Promise<Listeners> {
    const listeners = new Listeners(shared);
    const bound = await listeners.#bindAll(plans, inherited, false);
    listeners.#active = plans.flatMap((plan) => bound.get(plan) ?? []);
    return listeners;
  }

  /** In the order of the file. */
  get active(): readonly PlannedListener[] {
    return this.#active;
  }

  /** Connections whose socket is still Node's. */
  get negotiatingCount(): number {
    const all = [...this.#active.map(({ listener }) => listener), ...this.#retiring.keys()];
    return all.reduce((sum, { negotiatingCount }) => sum + negotiatingCount, 0);
  }

  /** Binds what is new in `plans`; throws as {@link Listeners.bind} does, and everything is as it was then. */
  async prepare(plans: readonly ListenerPlan[]): Promise<ListenerChange> {
    const known = new Map(this.#active.map((one) => [one.plan.key, one]));
    const fresh = plans.filter(({ key }) => !known.has(key));
    const bound = await this.#bindAll(fresh, NOTHING_INHERITED, true);
    return {
      commit: () => this.#commit(plans, known, bound),
      abandon: async () => {
        await Promise.all([...bound.values()].map(({ listener }) => listener.close()));
      },
    };
  }

  /** For a successor. */
  passed(): PassedSocket[] {
    return this.#active.map(({ plan: { key }, listener: { socket } }) => ({
      key,
      fd: socket.descriptor,
      ownsPath: socket.ownsPath,
    }));
  }

  /** The predecessor has nothing to fall back on any more: its paths are ours, and nobody shall wait where we do not listen. */
  claim(inherited: InheritedSockets): void {
    for (const { listener } of this.#active) {
      listener.socket.claimPath();
    }
    for (const { fd, ownedPath } of inherited.rest()) {
      closeSync(fd);
      if (ownedPath !== null) {
        removeQuietly(ownedPath);
      }
    }
  }

  /** Paths are a successor's from now on. */
  leavePaths(): void {
    for (const { listener } of this.#active) {
      listener.socket.leavePath();
    }
  }

  /** Stops accepting; resolves when the last connection that negotiates is done with. */
  async stopAccepting(): Promise<void> {
    const active = this.#active.map(({ listener }) => listener.stopAccepting());
    await Promise.all([...active, ...this.#retiring.values()]);
  }

  /** Ends everything, connections that negotiate included; idempotent. */
  async close(): Promise<void> {
    const all = [...this.#active.map(({ listener }) => listener), ...this.#retiring.keys()];
    await Promise.all(all.map((listener) => listener.close()));
  }

  #commit(
    plans: readonly ListenerPlan[],
    known: ReadonlyMap<string, PlannedListener>,
    bound: ReadonlyMap<ListenerPlan, PlannedListener>,
  ): CommittedChange {
    const doubts = plans.flatMap((plan) => {
      const kept = known.get(plan.key);
      return kept === undefined ? [] : reconfigure(kept, plan).map((text) => ({ plan, text }));
    });
    const keys = new Set(plans.map(({ key }) => key));
    const removed = this.#active.filter(({ plan }) => !keys.has(plan.key));
    this.#active = plans.flatMap((plan) => {
      const listener = known.get(plan.key)?.listener;
      return bound.get(plan) ?? (listener === undefined ? [] : { plan, listener });
    });
    for (const { listener } of bound.values()) {
      listener.release();
    }
    for (const { listener } of removed) {
      const retired = listener.stopAccepting().then(() => {
        this.#retiring.delete(listener);
      });
      this.#retiring.set(listener, retired);
    }
    return { added: [...bound.values()], removed, doubts };
  }

  async #bindAll(
    plans: readonly ListenerPlan[],
    inherited: InheritedSockets,
    isHeld: boolean,
  ): Promise<Map<ListenerPlan, PlannedListener>> {
    const nextConnectionId = () => ++this.#lastConnectionId;
    const taken = plans.map((plan) => inherited.take(plan));
    const results = await Promise.allSettled(
      plans.map(async (plan, index) => {
        const socket = { inherited: taken[index] ?? null, isHeld, nextConnectionId };
        return { plan, listener: await bindListener({ ...plan, ...this.#shared, ...socket }) };
      }),
    );
    const bound = results.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const errors = results.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
    if (errors.length > 0) {
      await Promise.all(bound.map(({ listener }) => listener.close()));
      throw errors.length === 1 ? errors[0] : joinedBindError(errors);
    }
    return new Map(bound.map((one) => [one.plan, one]));
  }
}

/** What could not be changed. */
function reconfigure({ plan: old, listener }: PlannedListener, plan: ListenerPlan): string[] {
  const doubts: string[] = [];
  if (plan.backlog !== old.backlog) {
    doubts.push('listen_backlog stays as it was until the next start');
  }
  if (plan.reusePort !== old.reusePort) {
    doubts.push('so_reuseport stays as it was until the address is bound anew');
  }
  try {
    listener.reconfigure(plan);
  } catch (error) {
    doubts.push(`unix_socket_mode and unix_socket_group were not set: ${String(error)}`);
  }
  return doubts;
}

function joinedBindError(errors: readonly unknown[]): PgtlsError {
  const messages = errors.map((error) => (error instanceof Error ? error.message : String(error)));
  const cause = new AggregateError(errors);
  return new PgtlsError('PGTLS_BIND_FAILED', messages.join('\n'), { cause });
}
