import { z } from 'zod';
import { refuse } from '../../errors.ts';
import { statusChangesOf } from '../../ledger/status/read.ts';
import { text, walletParams } from '../../views/fields.ts';
import {
  walletStatus,
  walletStatusDetailResponse,
  walletStatusDetailShape,
  walletStatusResponse,
  walletStatusShape,
} from '../../views/wallet-status.ts';
import { merchantRoute, type Route } from '../kit/route.ts';
import { findWallet } from './wallets.ts';

const tag = 'Wallets';
const path = '/customers/{customer_id}/wallets/{currency}/status';

const retrieve = merchantRoute({
  method: 'get',
  path,
  scope: 'read',
  takesTurns: false,
  tag,
  summary: 'Retrieve the status of a wallet, and how it was changed',
  description: 'What may happen in it, since when and why.',
  params: walletParams,
  response: { description: 'The status in force, and the changes that led to it.', schema: walletStatusDetailShape },
  errors: ['CUSTOMER_NOT_FOUND', 'QUERY_TOO_SLOW'],
  async handle({ services, merchantId, params: { customer_id: customerId, currency } }) {
    const wallet = await findWallet(services, { merchantId, customerId, currency });
    const changes = await services.readers.read(merchantId, (db) => statusChangesOf(db, wallet));
    return walletStatusDetailResponse({ ...wallet, status: changes[0]?.newStatus ?? wallet.status }, changes);
  },
});

const change = merchantRoute({
  method: 'put',
  path,
  scope: 'write',
  takesTurns: false,
  tag,
  summary: 'Freeze or close a wallet, or make it active again',
  description:
    'Frozen, nothing is taken out of it or set aside, but what was held before can be captured, and payments, refunds and disputes do what they always do. Closed, nothing is posted but what payments do; such a posting opens it again, frozen. To be closed it has to be empty. What it is already changes nothing.',
  params: walletParams,
  body: z
    .strictObject({
      status: walletStatus,
      reason: text(1000, 1),
      pause_expiry: z.boolean({ error: 'wants true or false' }).optional().meta({
        description:
          'Only of a frozen wallet: credit with an end keeps the time it has left, and ends later by as long as it was paused. As it is unless given; false for a wallet that was not frozen.',
      }),
    })
    .refine((body) => body.status === 'frozen' || body.pause_expiry !== true, {
      path: ['pause_expiry'],
      error: 'wants a wallet that is to be frozen',
    })
    .meta({ examples: [{ status: 'frozen', reason: 'Looks like fraud' }] }),
  response: { description: 'The status in force from now on.', schema: walletStatusShape },
  errors: ['CUSTOMER_NOT_FOUND', 'UNSUPPORTED_CURRENCY', 'WALLET_NOT_EMPTY', 'STATUSES_NOT_YET'],
  async handle({ services, merchantId, keyId, params: { customer_id: customerId, currency }, body }) {
    const { status, reason, pause_expiry: pauseExpiry = null } = body;
    const asked = { status, reason, pauseExpiry, actor: `key:${keyId}` };
    const command = { op: 'change_status' as const, merchantId, customerId, currency, ...asked };
    const result = await services.ledger.setStatus(command);
    return result.kind === 'refused' ? refuse(result.refusal) : walletStatusResponse(result.wallet, result.last);
  },
});

export const walletStatusRoutes: readonly Route[] = [retrieve, change];
