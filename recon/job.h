/* job.h: what a job is. Private to this folder. */
#ifndef KRAY_JOB_H
#define KRAY_JOB_H
#include "kray/projections.h"
#include "street.h"

enum { KEPT = 4096 };
struct kr_job {
    kr_job_opts how;
    const kr_recon *asked, *method;  /* asked NULL: auto; method NULL: it has not chosen yet            */
    void *values, *presets;          /* options of the method asked for, or of the usual one; of another that auto took */
    const kr_recon *preset_of;       /* whose presets those are, opened; NULL: there are none           */
    char *words;                     /* the text of options: values point into it                       */
    const char *given;
    char *source;                    /* the file being read; NULL                                       */
    bool follow;                     /* frames that follow each other                                   */
    bool told;                       /* this measurement's notes and warnings                           */
    kr_shape along;                  /* of one slice along a trajectory, in frames as stated; one number: not looked at */
    bool wide;                       /* planes along the trajectory are solved for WIDER than the image: street.h */
    long from, count, all;           /* the slices of a file that are worked on; all 0: what comes      */
    kr_coils_facts *facts;           /* of all pieces' maps; NULL: told at once                         */
    int keep;                        /* -1: nothing                                                     */
    kept *kept;                      /* KEPT of them; NULL: none yet                                    */
    kr_array *noise; double noise_dwell_us, noise_bandwidth;
};
/* The options that the job has for a method, with what its `open` reads; NULL: failed. */
void *job_values_of(kr_job *j, const kr_recon *m);
/* What auto takes for a scan, or the method asked for. */
const kr_recon *job_choose(kr_job *j, const kr_scan *s, const kr_trace *trace);
/* What the program takes before it reads anything. */
double job_program(void);
/* Notes in an image what it was made by. */
int job_describe(kr_image *im, const kr_scan *s, kr_job *j) KR_MUST_USE;
/* What the program takes beside the method for one slice of a scan: itself, the data. */
double job_bytes_beside(const kr_scan *s);
/* 1: a file that holds X-ray projections, or one that how->geometry makes such, *p (owner: the caller); 0: none; else a refusal. */
int job_projections(kr_job *j, kr_projections **p, const char *source, const kr_trace *trace);
/* Its scan; p is dropped. Refuses what is asked for and means nothing to projections. */
int job_rays_scan(kr_job *j, kr_scan **out, kr_projections **p, const char *source, const kr_trace *trace) KR_MUST_USE;
int job_rays_only(const kr_job *j) KR_MUST_USE;
/* The peak of the program while it makes the image of a scan of rays, data included; below 0: a refusal. Refuses where that is more than is allowed or than the machine has. */
double job_rays_bytes(kr_job *j, const kr_scan *s) KR_MUST_USE;
int job_rays_fit(kr_job *j, const kr_scan *s) KR_MUST_USE;
/* ": 0.52 mm would fit": voxels so large that the image as a whole is made in so many bytes; empty: none are. Returns text. */
const char *job_rays_room(char *text, size_t size, kr_job *j, const kr_scan *s, double bytes);
/* Refuses a method that is not for such a scan. */
int job_takes(const kr_recon *m, const kr_scan *s) KR_MUST_USE;
#endif
