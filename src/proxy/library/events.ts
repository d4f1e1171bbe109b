/**
 * The events of an embedded proxy, and who listens to them.
 *
 * A listener never harms the proxy: what it throws is thrown again from an empty stack, where `uncaughtException` finds it, and
 * the listeners after it are called nonetheless.
 */
import { describe } from '../../config/table-reader.ts';
import { PgtlsError } from '../../errors.ts';
import type { BoundAddress } from '../running-proxy.ts';
import type { SessionReport } from './session-report.ts';
import type { CertificateStatus } from './stats.ts';

/** How sessions ended when the proxy did. */
export interface DrainReport {
  /** Sessions that ended by themselves. */
  readonly drained: number;
  /** Sessions that were cut: at a message boundary, with SQLSTATE 57P01. */
  readonly cut: number;
}

/** How a reload ended. */
export interface ReloadReport {
  /** The whole configuration, or certificate and other named files alone. */
  readonly kind: 'config' | 'certificates';
  /** null = it succeeded; what was in force before still is, otherwise. */
  readonly error: Error | null;
}

/** What each event is told with. */
export interface PgtlsProxyEvents {
  /** Every address is bound. */
  readonly listening: (addresses: readonly BoundAddress[]) => void;
  /** A connection that came as far as the data plane is over. */
  readonly session: (report: SessionReport) => void;
  /** A reload is over, whoever wanted it: a call, a changed file, `cert_refresh_interval`. */
  readonly reload: (report: ReloadReport) => void;
  /** The files of certificates were read: at the start, after each reload, each `cert_refresh_interval`. */
  readonly certificates: (certificates: readonly CertificateStatus[]) => void;
  /** The end has begun, by `drain()` or `close()`. */
  readonly drain: () => void;
  /** Nothing lives any more. The last event. */
  readonly close: (report: DrainReport) => void;
  /** A fault of pgtls itself that it survived. Nobody has to listen: it is in the log, too. */
  readonly error: (error: PgtlsError) => void;
}

/** Names of events. */
export type PgtlsProxyEvent = keyof PgtlsProxyEvents;

const EVENTS: Readonly<Record<PgtlsProxyEvent, true>> = {
  listening: true,
  session: true,
  reload: true,
  certificates: true,
  drain: true,
  close: true,
  error: true,
};

type AnyListener = (...told: never[]) => unknown;

interface Registration {
  readonly listener: AnyListener;
  readonly isOnce: boolean;
}

/** Listeners by event, called in the order in which they came. */
export class EventHub {
  readonly #registrations = new Map<PgtlsProxyEvent, readonly Registration[]>();

  /** Throws PGTLS_ARGUMENTS_INVALID for an event that there is not, or a listener that is no function. */
  add(event: PgtlsProxyEvent, listener: AnyListener, isOnce: boolean): void {
    checkEvent(event);
    if (typeof listener !== 'function') {
      throw new PgtlsError('PGTLS_ARGUMENTS_INVALID', `the listener of "${event}" is no function`);
    }
    this.#registrations.set(event, [...this.#of(event), { listener, isOnce }]);
  }

  /** Removes the last registration of `listener`; nothing happens when there is none. */
  remove(event: PgtlsProxyEvent, listener: AnyListener): void {
    checkEvent(event);
    const all = this.#of(event);
    const last = all.findLastIndex((one) => one.listener === listener);
    if (last >= 0) {
      this.#registrations.set(event, all.toSpliced(last, 1));
    }
  }

  /** Whether it is any use to assemble what is told. */
  isHeard(event: PgtlsProxyEvent): boolean {
    return this.#of(event).length > 0;
  }

  /** Calls every listener; never throws. */
  emit<Event extends PgtlsProxyEvent>(
    event: Event,
    ...told: Parameters<PgtlsProxyEvents[Event]>
  ): void {
    for (const registration of this.#of(event)) {
      if (registration.isOnce) {
        const others = this.#of(event).filter((one) => one !== registration);
        this.#registrations.set(event, others);
      }
      callOutside(() => Reflect.apply(registration.listener, undefined, told));
    }
  }

  #of(event: PgtlsProxyEvent): readonly Registration[] {
    return this.#registrations.get(event) ?? [];
  }
}

/** Calls what is not ours: what it throws is nobody's here to catch, and is thrown where Node.js reports it. */
export function callOutside(call: () => unknown): void {
  try {
    call();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

function checkEvent(event: unknown): void {
  if (typeof event !== 'string' || !Object.hasOwn(EVENTS, event)) {
    const message = `there is no event ${describe(event)}; expected ${Object.keys(EVENTS).join(', ')}`;
    throw new PgtlsError('PGTLS_ARGUMENTS_INVALID', message);
  }
}
