# Standard errors of means with calibrated weights, by R's survey package. Run: Rscript tests/calibrated.R data/ess10no/ess10no.csv tests/calibrated.json
# and, with a folder as third argument, on the package's own NHANES data, which is written there too.
suppressMessages(library(survey)); args <- commandArgs(TRUE)
means <- function(d, what) { m <- svymean(as.formula(paste0('~', what)), d, na.rm=TRUE); list(estimate=as.numeric(coef(m)), se=as.numeric(SE(m))) }
both <- function(plain, formula, margins, what) {
  totals <- c(`(Intercept)`=sum(weights(plain)), unlist(lapply(margins, function(m) setNames(m$Freq[-1], paste0(names(m)[1], m[-1, 1])))))
  tight <- list(maxit=200, epsilon=1e-9, verbose=FALSE)
  list(plain=plain, calibrate=calibrate(plain, formula, totals), rake=rake(plain, lapply(margins, function(m) as.formula(paste0('~', names(m)[1]))), margins, control=tight)) }
margin <- function(name, values, shares, total) { m <- data.frame(values, Freq=shares*total); names(m)[1] <- name; m }
d <- read.csv(args[1]); d <- d[!is.na(d$lrscale) & !is.na(d$female) & !is.na(d$polint),]; d$sex <- factor(d$female); d$keen <- factor(d$polint)
d$some <- ifelse(seq_len(nrow(d)) %% 3 == 0 & d$polint <= 2, NA, d$lrscale)  # the less keen answer less often
p <- svydesign(id=~1, weights=~pspwght, data=d); n <- sum(d$pspwght)
ess <- both(p, ~sex + keen, list(margin('sex', c('0', '1'), c(.45, .55), n), margin('keen', levels(d$keen), rep(1/nlevels(d$keen), nlevels(d$keen)), n)), 'lrscale')
out <- list(n=nrow(d)); for (k in c('calibrate', 'rake')) for (x in c('lrscale', 'imwbcnt', 'some'))
  out[[paste(k, x)]] <- c(means(ess[[k]], x), sum_of_squares=sum(weights(ess[[k]])^2))
lines <- sapply(names(out), function(k) paste0(' "', k, '": ', if (length(out[[k]]) == 1) format(out[[k]]) else paste0('{', paste0('"', names(out[[k]]), '": ', sapply(out[[k]], format, digits=15), collapse=', '), '}')))
writeLines(paste0('{\n', paste(lines, collapse=',\n'), '\n}'), args[2])
if (length(args) > 2) {
  data(nhanes); h <- nhanes[!is.na(nhanes$HI_CHOL),]; h$race <- factor(h$race); h$sex <- factor(h$RIAGENDR)
  p <- svydesign(id=~SDMVPSU, strata=~SDMVSTRA, weights=~WTMEC2YR, nest=TRUE, data=h); n <- sum(h$WTMEC2YR)
  a <- prop.table(table(h$agecat)); ages <- as.numeric(a + .02*c(1, -1, 1, -1)[seq_along(a)]); races <- as.numeric(prop.table(table(h$race))*.9 + .1/nlevels(h$race))
  made <- both(p, ~race + agecat + sex, list(margin('race', levels(h$race), races, n), margin('agecat', levels(h$agecat), ages, n), margin('sex', c('1', '2'), c(.48, .52), n)), 'HI_CHOL')
  rows <- list(); for (k in names(made)) { h[[k]] <- weights(made[[k]])
    for (x in c('HI_CHOL', 'I(as.numeric(agecat))')) { m <- means(made[[k]], x); rows[[length(rows) + 1]] <- data.frame(kind=k, what=x, estimate=m$estimate, se=m$se) } }
  h$age <- as.numeric(h$agecat); write.csv(h, file.path(args[3], 'nhanes.csv'), row.names=FALSE); write.csv(do.call(rbind, rows), file.path(args[3], 'r.csv'), row.names=FALSE) }
