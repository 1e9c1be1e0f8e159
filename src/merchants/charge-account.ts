import type { Secret } from '../crypto/secret.ts';
import type { Tx } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import { selectAccounts } from './account-store.ts';
import { isOfSource } from './accounts.ts';
import { type ApiAccount, askAccount, type ConnectSource } from './api-account.ts';
import type { SourceAccountKind } from './source.ts';

/** Whose account a charge key opens that is being set. Where its provider does not say, charging itself looks again (charging/key-account.ts). */
export async function accountOfChargeKey(
  { connect }: { readonly connect: ConnectSource },
  { provider, mode, chargeKey }: Pick<SourceAccountKind, 'provider' | 'mode'> & { readonly chargeKey?: Secret | null },
): Promise<ApiAccount> {
  return chargeKey === undefined || chargeKey === null
    ? { kind: 'none' }
    : askAccount(connect, { provider, mode, apiKey: chargeKey });
}

/**
 * What is charged at another account than the source's events come from is money taken and never credited.
 * @throws {RefusalError} INVALID_FIELD
 */
export async function refuseChargesElsewhere(tx: Tx, source: SourceAccountKind, asked: ApiAccount): Promise<void> {
  if (asked.kind !== 'known') return;
  const known = (await selectAccounts(tx, [source], [])).filter((one) => isOfSource(one, source));
  if (known.length === 0 || known.some(({ account }) => account === asked.account)) return;
  refuse({ code: 'INVALID_FIELD', field: 'charge_key', wants: 'wants a key of the account that the source is of' });
}
