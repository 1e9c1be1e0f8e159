import type { PgBoss } from 'pg-boss';
import type { Clock } from '../clock.ts';
import type { Config } from '../config/env.ts';
import type { SecretBox } from '../crypto/secret-box.ts';
import { Failures } from '../db/failures.ts';
import type { Pool } from '../db/pool.ts';
import { type ReadsInTurn, readingBy } from '../db/readers.ts';
import type { Logger } from '../telemetry/log.ts';
import { type Observe, UNOBSERVED } from '../telemetry/observe.ts';
import { Deliverer } from './embedded/deliverer.ts';
import { DirectWebhooks } from './embedded/endpoints.ts';
import { DirectPublisher } from './embedded/publisher.ts';
import { DirectRecovery } from './embedded/recovery.ts';
import { DirectSender } from './embedded/send.ts';
import { Settlements } from './embedded/settlements.ts';
import { DeliverySlots } from './embedded/slots.ts';
import type { OutgoingWebhooks } from './outgoing.ts';
import type { Publisher } from './publisher.ts';
import { workOnRecoveries } from './recovery/recover.ts';
import { SenderWatch } from './sender-status.ts';
import { SvixAccount } from './svix/account.ts';
import { identitiesFrom } from './svix/applications.ts';
import { SvixPublisher } from './svix/publisher.ts';
import { SvixRecovery } from './svix/recovery.ts';
import { lookForDisabled, pruneSent } from './svix/watch.ts';
import { SvixWebhooks } from './svix/webhooks.ts';

export interface OutgoingOptions {
  readonly config: Pick<Config, 'SVIX_TOKEN' | 'SVIX_SERVER_URL' | 'ALLOW_PRIVATE_ENDPOINTS'>;
  readonly pool: Pool;
  /** Where merchants' lists are read; by the pool unless given. */
  readonly readers?: ReadsInTurn;
  readonly boss: PgBoss;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly box: SecretBox;
  readonly observe?: Observe;
}

/** Outgoing webhooks: by Svix if a token for it is configured, else by the embedded sender. */
export interface Outgoing {
  readonly webhooks: OutgoingWebhooks;
  /** Checks the sender once it is started. */
  readonly watch: SenderWatch;
  readonly publisher: Publisher;
  /** The embedded sender's. Under Svix it serves what is left from before the change to Svix. */
  readonly deliverer: Deliverer;
  /** Works on recoveries that are due. @returns seconds until one is due again; null if none is left */
  recover(signal: AbortSignal): Promise<number | null>;
  /** Looks for endpoints that Svix gave up on, and forgets what is no longer kept. */
  lookAfterEndpoints(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** Makes the sender that the configuration asks for: Svix if there is a token, else the embedded one. */
export function createOutgoing(options: OutgoingOptions): Outgoing {
  const { config, pool, boss, clock, logger, box, readers = readingBy(pool), observe = UNOBSERVED } = options;
  const allowPrivate = config.ALLOW_PRIVATE_ENDPOINTS;
  const sender = new DirectSender({ clock, allowPrivate });
  const settlements = new Settlements({ pool, clock, logger });
  const slots = new DeliverySlots();
  const deliverer = new Deliverer({ pool, clock, settlements, sender, logger, box, slots, observe });
  const { SVIX_TOKEN: token, SVIX_SERVER_URL: serverUrl } = config;
  const server = serverUrl === undefined ? {} : { serverUrl };
  const account =
    token === undefined ? null : new SvixAccount({ token, ...server, clock, identityOf: identitiesFrom(pool) });
  const webhooks =
    account === null
      ? new DirectWebhooks({ pool, readers, boss, clock, allowPrivate, box })
      : new SvixWebhooks({ account, pool, readers, boss, clock, allowPrivate, box });
  const recoverySender =
    account === null
      ? new DirectRecovery(pool, clock, () => deliverer.wake())
      : new SvixRecovery({ pool, account, box, clock, logger });
  const watch = new SenderWatch({ pool, logger, account });
  return {
    webhooks,
    watch,
    publisher:
      account === null
        ? new DirectPublisher(clock, () => deliverer.wake())
        : new SvixPublisher({ account, clock, logger, observe }),
    deliverer,
    recover: (signal) => workOnRecoveries({ pool, recoverySender, clock, logger }, signal),
    lookAfterEndpoints: async (signal) => {
      const failures = new Failures(null);
      // Logged by itself, merchant by merchant.
      if (account !== null)
        await failures.outlive(
          () => lookForDisabled({ pool, account, clock, logger }, signal),
          () => {},
        );
      await pruneSent(pool, clock.now(), signal);
      failures.rethrow();
    },
    close: async () => {
      await watch.close();
      await webhooks.close();
      await deliverer.close();
      await sender.close();
    },
  };
}
