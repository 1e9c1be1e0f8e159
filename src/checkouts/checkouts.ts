import { type ConnectCharger, mayOpenSessions, type OpenCharger } from '../charging/connect.ts';
import type { GatewayMinimums } from '../charging/minimums.ts';
import type { Clock } from '../clock.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import type { LedgerBatches } from '../ledger/batches.ts';
import { type Checkout, endOfPage } from '../ledger/checkouts/checkout.ts';
import { splitFor } from '../ledger/checkouts/open-checkout.ts';
import type { LedgerSettings } from '../ledger/store.ts';
import type { EnabledProviders } from '../merchants/enabled-providers.ts';
import type { Source } from '../merchants/source.ts';
import type { Sources } from '../merchants/sources.ts';
import { ProviderApiError } from '../providers/shared/api.ts';
import type { Logger } from '../telemetry/log.ts';
import {
  type CheckoutRequest,
  checkoutTermsOf,
  commandOf,
  type PurchaseRequest,
  requireSense,
  type SessionRequest,
} from './purchase.ts';
import { openSession } from './session.ts';

export interface CheckoutServices {
  readonly pool: Pool;
  readonly ledger: LedgerBatches;
  readonly settings: LedgerSettings;
  readonly sources: Sources;
  readonly providers: EnabledProviders;
  readonly minimums: GatewayMinimums;
  readonly connect: ConnectCharger;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** How a wallet as it is would share a purchase. */
type Quote = Extract<ReturnType<typeof splitFor>, { kind: 'split' }> & { readonly gatewayMinimum: number };

/**
 * `opened`: here it is, with its page where one was asked for. `known`: it was opened before under the same key, and nothing is to be done
 * for it again. `without_page`: the provider made none; it is open all the same.
 */
export type Opened = { readonly kind: 'opened' | 'known' | 'without_page'; readonly checkout: Checkout };

/** What merchants ask of purchases: what they would be split into, and opening them. */
export class Purchases {
  readonly #services: CheckoutServices;

  constructor(services: CheckoutServices) {
    this.#services = services;
  }

  /**
   * Splits a purchase by what the wallet has now. Nothing is held.
   * @throws {RefusalError} INVALID_FIELD, UNSUPPORTED_CURRENCY, CUSTOMER_NOT_FOUND, WALLET_FROZEN, WALLET_CLOSED, INSUFFICIENT_WALLET_FUNDS, BELOW_GATEWAY_MINIMUM
   */
  async quote(request: PurchaseRequest): Promise<Quote> {
    const { ledger, settings, minimums, providers } = this.#services;
    const { merchantId, customerId, currency } = request;
    requireSense(request);
    if (!settings.currencies.has(currency))
      refuse({ code: 'UNSUPPORTED_CURRENCY', currency, supported: [...settings.currencies] });
    const wallets = await ledger.wallets(merchantId, customerId);
    if (wallets.length === 0) refuse({ code: 'CUSTOMER_NOT_FOUND', customerId });
    // The wallet of a currency that was configured since is made at its first use.
    const found = wallets.find((one) => one.currency === currency);
    const wallet = found ?? { currency, balance: 0, held: 0, status: 'active' as const };
    const terms = checkoutTermsOf(request, { providers: await providers.of(merchantId), minimums });
    const decided = splitFor(wallet, terms);
    return decided.kind === 'refused' ? refuse(decided.refusal) : { ...decided, gatewayMinimum: terms.gatewayMinimum };
  }

  /**
   * Opens a checkout, and the provider's page for it where one is asked for. What is held is durable before the provider is asked; the
   * same request under the same key asks again for a page that was not made.
   * @throws {RefusalError} CHARGING_NOT_CONFIGURED, IDEMPOTENCY_KEY_REUSED, CHECKOUTS_NOT_YET, and those of {@link quote}
   * @throws {BatcherFullError} if too many wait already
   */
  async open(request: CheckoutRequest): Promise<Opened> {
    const { providers, minimums, ledger } = this.#services;
    const { merchantId, session } = request;
    const source = session === null ? null : await this.#sourceOf(merchantId, session);
    const charger = source === null ? null : await this.#chargerOf(source);
    const where = source === null ? await providers.of(merchantId) : new Set([source.provider]);
    const command = commandOf(request, checkoutTermsOf(request, { providers: where, minimums }));
    const result = await ledger.checkout(command);
    if (result.kind === 'refused') return refuse(result.refusal);
    const { checkout } = result;
    const isNew = result.kind === 'checkout_opened';
    if (session === null || !wantsPage(checkout, this.#services.clock.now()))
      return { kind: isNew ? 'opened' : 'known', checkout };
    const paged = charger === null ? null : await openSession(this.#services, { checkout, session, charger });
    return paged === null ? { kind: 'without_page', checkout } : { kind: 'opened', checkout: paged };
  }

  async #sourceOf(merchantId: string, { sourceId }: SessionRequest): Promise<Source> {
    const { sources, pool } = this.#services;
    const source = await sources.find(autocommit(pool), merchantId, sourceId);
    return source !== null && mayOpenSessions(source) ? source : refuse({ code: 'CHARGING_NOT_CONFIGURED' });
  }

  /** Null where the provider cannot be asked now: what is to be held is held all the same, and the page asked for again. */
  async #chargerOf(source: Source): Promise<OpenCharger | null> {
    const { connect, logger } = this.#services;
    const { merchantId, sourceId } = source;
    try {
      return (await connect(source)) ?? refuse({ code: 'CHARGING_NOT_CONFIGURED' });
    } catch (error) {
      if (!(error instanceof ProviderApiError)) throw error;
      if (error.kind === 'refused') return refuse({ code: 'CHARGING_NOT_CONFIGURED' });
      logger.warn({ err: error, merchantId, sourceId }, 'the provider of a checkout’s page cannot be asked');
      return null;
    }
  }
}

/** It is open and has no page yet; one that the wallet pays alone wants none, and once its page would have ended, none is made. */
function wantsPage({ state, sessionId, expiresAt }: Checkout, now: Date): boolean {
  return state === 'open' && sessionId === null && now < endOfPage(expiresAt);
}
