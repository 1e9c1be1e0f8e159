import type { AttemptQuery } from '../../src/outgoing/outgoing.ts';

/** The newest ten attempts, whatever came of them. */
export const NEWEST: AttemptQuery = {
  pageSize: 10,
  cursor: null,
  status: null,
  eventType: null,
  messageId: null,
  since: null,
  until: null,
};
