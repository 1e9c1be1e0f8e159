import { z } from 'zod';
import { Secret } from '../../crypto/secret.ts';
import { autocommit } from '../../db/transaction.ts';
import { EVENT_STATES } from '../../inbox/events.ts';
import { deliverTestEvent } from '../../inbox/test-delivery.ts';
import { accountsBySource } from '../../merchants/account-store.ts';
import {
  addWebhookSecret,
  changeSource,
  createSource,
  findSource,
  removeWebhookSecret,
  sourcesOf,
} from '../../merchants/administration.ts';
import type { SourceKey } from '../../merchants/source.ts';
import { findingsOf } from '../../merchants/source-findings.ts';
import { PROVIDER_NAMES } from '../../providers/shared/names.ts';
import { EXAMPLE } from '../../views/examples.ts';
import { itemsOf, plainIdParams } from '../../views/fields.ts';
import { configuredResponse, findingResponse, findingShape, recordResponse, sourceShape } from '../../views/source.ts';
import { adminRoute, type Route } from '../kit/route.ts';
import type { Services } from '../kit/services.ts';
import { merchantParams, OPERATOR } from './merchants.ts';
import {
  accounts,
  apiKey,
  chargeKey,
  EXAMPLE_WEBHOOK_SECRET,
  sourceFields as fields,
  oneOf,
  webhookSecret,
} from './source-fields.ts';

const tag = 'Administration';
const path = '/admin/merchants/{merchant_id}/sources';
const sourceParams = merchantParams.extend(plainIdParams('source_id').shape);
const response = { description: 'The source.', schema: sourceShape };

function keyOf(params: z.output<typeof sourceParams>): SourceKey {
  return { merchantId: params.merchant_id, sourceId: params.source_id };
}

function note(
  { logger }: Services,
  { merchantId, sourceId }: SourceKey,
  { message, ...changed }: { readonly message: string; readonly [field: string]: unknown },
): void {
  logger.info({ who: 'admin', merchantId, sourceId, ...changed }, message);
}

const create = adminRoute({
  method: 'post',
  path,
  tag,
  summary: 'Add a source',
  description:
    "A source is a merchant's account at a provider. Send the provider's webhooks to the `webhook_path` of the answer. Wants `ENCRYPTION_KEY`, under which the secrets are kept.",
  params: merchantParams,
  body: z
    .strictObject({
      provider: oneOf(PROVIDER_NAMES),
      name: fields.name,
      mode: oneOf(['test', 'live']).nullish().meta({ description: "The merchant's; another is refused." }),
      webhook_secret: webhookSecret,
      api_key: apiKey.nullish(),
      accounts: accounts.optional(),
      default_purpose: fields.default_purpose.default('topup'),
      metadata: fields.metadata.optional(),
      refunds: fields.refunds.default('auto'),
      disputes: fields.disputes.default('hold'),
      customer_link_rule: fields.customer_link_rule.default('create'),
      capture: fields.capture.default('automatic'),
      enabled: fields.enabled.default(true),
    })
    .meta({
      examples: [{ provider: 'stripe', name: 'Stripe, EU shop', webhook_secret: EXAMPLE_WEBHOOK_SECRET }],
    }),
  response,
  errors: ['CONFLICT', 'ACCOUNT_OF_ANOTHER_SOURCE', 'NOT_IMPLEMENTED'],
  async handle({ services, params, body }) {
    const { provider, name, refunds, disputes, capture, enabled } = body;
    const made = await createSource(services, params.merchant_id, {
      provider,
      name,
      mode: body.mode ?? null,
      webhookSecret: new Secret(body.webhook_secret),
      apiKey: body.api_key == null ? null : new Secret(body.api_key),
      accounts: body.accounts ?? [],
      defaultPurpose: body.default_purpose,
      metadata: body.metadata ?? null,
      refunds,
      disputes,
      customerLinkRule: body.customer_link_rule,
      capture,
      enabled,
    });
    const { defaultPurpose, metadata, customerLinkRule } = made;
    const hasApiKey = made.secrets.some((secret) => secret.purpose === 'api');
    const rules = { defaultPurpose, metadata, refunds, disputes, customerLinkRule, capture };
    note(services, made, { message: 'a source was created', provider, ...rules, enabled, hasApiKey });
    return recordResponse(made);
  },
});

const list = adminRoute({
  method: 'get',
  path,
  tag,
  summary: 'List the sources of a merchant',
  description: 'Those of the environment first, then the others, oldest first; and what is to be mended about them.',
  params: merchantParams,
  response: {
    description: 'The sources.',
    schema: itemsOf(sourceShape).extend({ findings: z.array(findingShape) }),
  },
  errors: ['QUERY_TOO_SLOW'],
  async handle({ services: { operatorReaders, sources, box }, params: { merchant_id: merchantId } }) {
    return operatorReaders.read(OPERATOR, async (db) => {
      const records = await sourcesOf(db, merchantId);
      const known = await accountsBySource(db, merchantId);
      const configured = sources.configured(merchantId);
      const shown = configured.map((one) => configuredResponse(one, known.get(one.sourceId) ?? []));
      const findings = (await findingsOf({ db, sources, box }, merchantId)).map(findingResponse);
      return { items: [...shown, ...records.map(recordResponse)], findings };
    });
  },
});

const retrieve = adminRoute({
  method: 'get',
  path: `${path}/{source_id}`,
  tag,
  summary: 'Retrieve a source',
  description: 'Its secrets are shown by how they end.',
  params: sourceParams,
  response,
  async handle({ services, params }) {
    const configured = services.sources.findConfigured(keyOf(params));
    if (configured !== null) {
      const known = await accountsBySource(autocommit(services.pool), params.merchant_id);
      return configuredResponse(configured, known.get(params.source_id) ?? []);
    }
    return recordResponse(await findSource(services, keyOf(params)));
  },
});

const update = adminRoute({
  method: 'patch',
  path: `${path}/{source_id}`,
  tag,
  summary: 'Change a source',
  description: 'What is left out stays. A source of the environment is changed there.',
  params: sourceParams,
  body: z
    .strictObject({ ...fields, api_key: apiKey.nullable(), charge_key: chargeKey.nullable(), accounts })
    .partial()
    .meta({ examples: [{ name: 'Stripe, EU shop', refunds: 'auto' }] }),
  response,
  errors: ['CONFLICT', 'ACCOUNT_OF_ANOTHER_SOURCE', 'NOT_IMPLEMENTED'],
  async handle({ services, params, body }) {
    const { name, metadata, refunds, disputes, capture, enabled } = body;
    const { default_purpose: defaultPurpose, customer_link_rule: customerLinkRule } = body;
    const { api_key: newApiKey, charge_key: newChargeKey } = body;
    const key = services.sources.requireStored(keyOf(params));
    const settings = {
      ...(defaultPurpose === undefined ? {} : { defaultPurpose }),
      ...(metadata === undefined ? {} : { metadata }),
      ...(refunds === undefined ? {} : { refunds }),
      ...(disputes === undefined ? {} : { disputes }),
      ...(customerLinkRule === undefined ? {} : { customerLinkRule }),
      ...(capture === undefined ? {} : { capture }),
      ...(enabled === undefined ? {} : { enabled }),
      ...(body.accounts === undefined ? {} : { accounts: body.accounts }),
    };
    const toSecret = (text: string | null) => (text === null ? null : new Secret(text));
    const secret = {
      ...(newApiKey === undefined ? {} : { apiKey: toSecret(newApiKey) }),
      ...(newChargeKey === undefined ? {} : { chargeKey: toSecret(newChargeKey) }),
    };
    const naming = name === undefined ? {} : { name };
    const changed = await changeSource(services, key, { ...naming, ...settings, ...secret });
    const are = Object.fromEntries(
      Object.entries(secret).map(([what, one]) => [what, one === null ? 'removed' : 'replaced']),
    );
    note(services, key, { message: 'a source was changed', ...settings, ...are });
    return recordResponse(changed);
  },
});

const addSecret = adminRoute({
  method: 'post',
  path: `${path}/{source_id}/webhook-secrets`,
  tag,
  summary: 'Add a webhook secret',
  description:
    'As the newest. The others go on to be accepted until they are removed, so that no delivery is lost while the provider changes over.',
  params: sourceParams,
  body: z
    .strictObject({ webhook_secret: webhookSecret })
    .meta({ examples: [{ webhook_secret: EXAMPLE_WEBHOOK_SECRET }] }),
  response,
  errors: ['CONFLICT', 'ACCOUNT_OF_ANOTHER_SOURCE', 'NOT_IMPLEMENTED'],
  async handle({ services, params, body }) {
    const key = services.sources.requireStored(keyOf(params));
    const changed = await addWebhookSecret(services, key, new Secret(body.webhook_secret));
    const newest = changed.secrets.find((secret) => secret.purpose === 'webhook');
    note(services, key, { message: 'a webhook secret was added', secretId: newest?.secretId });
    return recordResponse(changed);
  },
});

const removeSecret = adminRoute({
  method: 'delete',
  path: `${path}/{source_id}/webhook-secrets/{secret_id}`,
  tag,
  summary: 'Remove a webhook secret',
  description: 'Once the provider no longer signs with it. The last one stays: disable the source instead.',
  params: sourceParams.extend(plainIdParams('secret_id').shape),
  response,
  errors: ['CONFLICT'],
  async handle({ services, params }) {
    const key = services.sources.requireStored(keyOf(params));
    const changed = await removeWebhookSecret(services, key, params.secret_id);
    note(services, key, { message: 'a webhook secret was removed', secretId: params.secret_id });
    return recordResponse(changed);
  },
});

const testDelivery = adminRoute({
  method: 'post',
  path: `${path}/{source_id}/test`,
  tag,
  summary: 'Try a source out',
  description: 'Delivers an event that moves no money, signed with the newest secret as the provider signs.',
  params: sourceParams,
  response: {
    description: 'What became of it; `ignored` is as it should be, since it is of a type that moves no money.',
    schema: z
      .strictObject({ event_id: z.string(), status: z.enum(EVENT_STATES), detail: z.string().nullable() })
      .meta({ examples: [{ event_id: EXAMPLE.eventId, status: 'ignored', detail: null }] }),
  },
  errors: ['CONFLICT', 'NOT_IMPLEMENTED'],
  async handle({ services, params }) {
    const key = keyOf(params);
    const event = await deliverTestEvent(services, key);
    note(services, key, { message: 'a test event was delivered', eventId: event.eventId });
    return { event_id: event.eventId, status: event.state, detail: event.detail };
  },
});

export const adminSourceRoutes: readonly Route[] = [
  create,
  list,
  retrieve,
  update,
  addSecret,
  removeSecret,
  testDelivery,
];
