# Partial pooling of one question of the General Social Survey by R's lme4, for comparison with `multilevel`.
#
# Run: Rscript benchmarks/mrp.R (from the root of the project; lme4 1.1). Writes mrp_lme4.csv: for each combination of age, degree and
# race that the data have, the chance of each split (the first option; of the others, the second) and the answers behind it.
suppressMessages(library(lme4))
d <- read.csv('data/gss2018/gss2018.csv')
d <- d[!is.na(d$natfare) & !is.na(d$age) & !is.na(d$degree) & !is.na(d$race), ]
d$age <- cut(d$age, c(18, 30, 45, 60, 90), right = FALSE, labels = c('18-29', '30-44', '45-59', '60-89'))
d$y <- match(d$natfare, sort(unique(d$natfare)))
d <- d[c('age', 'degree', 'race', 'y')]
few <- function(d) d[seq(1, nrow(d), by = 6), ]    # every sixth respondent: where pooling matters
for (size in c('all', 'sixth')) {
  s <- if (size == 'all') d else few(d)
  cells <- unique(s[c('age', 'degree', 'race')])
  cells <- cells[order(cells$age, cells$degree, cells$race), ]
  for (j in 1:2) {
    part <- s[s$y >= j, ]
    part$said <- part$y == j
    fit <- glmer(said ~ 1 + (1 | age) + (1 | degree) + (1 | race), part, binomial)
    cells[[paste0('split', j)]] <- predict(fit, cells, type = 'response', allow.new.levels = TRUE)
    cat(size, j, sqrt(unlist(VarCorr(fit))), '\n')
  }
  cells$n <- mapply(function(a, g, r) sum(s$age == a & s$degree == g & s$race == r), cells$age, cells$degree, cells$race)
  cells$sample <- size
  all <- if (size == 'all') cells else rbind(all, cells)
}
write.csv(all, 'benchmarks/mrp_lme4.csv', row.names = FALSE)
