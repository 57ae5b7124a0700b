-- Which series are cached
SELECT series, records, primekeys, note
FROM mirror.series
ORDER BY records DESC

-- Mean velocity of the Sun's disk, day by day
SELECT t_rec::DATE AS day, count(*) AS records, avg(datamean) AS mean, stddev(datamean) AS spread
FROM hmi.v_45s
WHERE quality = 0
GROUP BY day
ORDER BY day

-- Keywords of a record set, as in a search
SELECT t_rec, obs_vr, datamean
FROM jsoc('hmi.v_45s[2014.01.01_TAI/1h]', fill := true)
ORDER BY t_rec

-- Active regions with the most flux
SELECT harpnum, max(usflux) AS most, arg_max(t_rec, usflux) AS at, any_value(noaa_ar) AS noaa
FROM hmi.sharp_720s
GROUP BY harpnum
ORDER BY most DESC
LIMIT 20

-- Gaps longer than two slots
SELECT t_rec AS after, next, next - t_rec AS gap
FROM (SELECT t_rec, lead(t_rec) OVER (ORDER BY t_rec) AS next FROM hmi.v_45s)
WHERE next - t_rec > INTERVAL 90 SECONDS
ORDER BY gap DESC

-- Cached files and their sizes
SELECT series, segment, count(*) AS files, sum(bytes) / 1e9 AS gigabytes
FROM mirror.holdings
GROUP BY ALL
ORDER BY gigabytes DESC

-- What keywords mean
SELECT series, keyword, type, units, note
FROM mirror.keywords
WHERE note ILIKE '%flux%'
ORDER BY series, keyword
