-- Clients are found by the domain of their address, from each of its dots on: whoever was there
-- before gets these words too. The address is a word already, folded as it is searched for.
INSERT INTO crm.client_search_words (account_id, client_id, word)
SELECT address.account_id, address.client_id, substr(address.domain, place)
FROM (
    SELECT account_id, client_id, substring(word FROM '[^@]*$') AS domain
    FROM crm.client_search_words WHERE word LIKE '%@%'
) AS address
CROSS JOIN LATERAL generate_series(1, length(address.domain)) AS place
WHERE place = 1 OR substr(address.domain, place - 1, 1) = '.'
ON CONFLICT DO NOTHING;
